//! Whether the application may use the vault, found out without a user.

use cloakroom::domain::source::{SourceFailure, SourceFault};
use cloakroom::domain::user::UserId;
use cloakroom::fake_auth0::{Endpoint, Fault, KeyUse, VaultSettings};
use cloakroom::upstream::vault::VaultAccess;

use super::{GITHUB, GOOGLE, World, signing_key};

impl World {
    async fn check(&self) -> Vec<VaultAccess> {
        let unknown = UserId::parse("auth0|cloakroom-check").unwrap();
        let found = self.vault.check(&unknown, &[GOOGLE, GITHUB]).await;
        assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [GOOGLE, GITHUB]);
        found.into_iter().map(|(_, access)| access).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_who_does_not_exist_shows_what_is_wrong() {
    use VaultAccess::{Granted, NotGranted, NothingGranted, Refused};

    type Change = fn(&mut VaultSettings);
    let client = || Refused(SourceFault::VaultGrant);
    let cases: [(Change, [VaultAccess; 2]); 8] = [
        (|_| {}, [Granted, Granted]),
        (|vault| vault.grant_type_allowed = false, [client(), client()]),
        (|vault| vault.oidc_conformant = false, [client(), client()]),
        (|vault| vault.ip_allowlist.clear(), [NothingGranted, NothingGranted]),
        (|vault| vault.grants.clear(), [NothingGranted, NothingGranted]),
        (|vault| drop(vault.grants.remove(GITHUB)), [Granted, NotGranted]),
        (|vault| assert!(vault.enabled.remove(GOOGLE)), [NotGranted, Granted]),
        (|vault| vault.always_mfa = true, [Refused(SourceFault::VaultMfa), Refused(SourceFault::VaultMfa)]),
    ];
    for (at, (change, expected)) in cases.into_iter().enumerate() {
        let world = World::new("");
        world.tenant.change_vault(change);
        assert_eq!(world.check().await, expected, "case {at}");
        assert_eq!(world.calls(), 2, "case {at}");
        assert!(expected.iter().all(|access| access.is_wrong() == (*access != Granted)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_not_registered_is_the_clients_and_the_rest_is_undecided() {
    let world = World::new("");
    world.tenant.remove_key(KeyUse::TokenVault, signing_key(0).kid());
    assert_eq!(world.check().await, [VaultAccess::Undecided, VaultAccess::Undecided]);
    world.tenant.remove_key(KeyUse::Authentication, signing_key(0).kid());
    let client = VaultAccess::Refused(SourceFault::VaultClient);
    assert_eq!(world.check().await, [client.clone(), client]);
    let world = World::new("");
    world.tenant.fault(Endpoint::Exchange, Fault::Edge503Html);
    let failed = VaultAccess::Failed(SourceFailure::Status { host: "tenant.example".into(), status: 503 });
    assert_eq!(world.check().await, [failed.clone(), failed.clone()]);
    assert!(!failed.is_wrong());
}
