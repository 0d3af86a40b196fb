"""Holds the manifests under deploy/kubernetes against the schemas of Kubernetes and against policy.py, and policy.py
against manifests that lack something.

    check.py     prints a line for each claim; `make manifests` runs it with what tests/install.sh installed
"""

import copy
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import kubernetes_validate
import yaml

import policy

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
GUIDE = ROOT / "docs/guides/kubernetes.md"
TOOLS = Path(sys.executable).parent
OLDEST, NEWEST = "1.29", kubernetes_validate.latest_version()

# What the restricted profile asks of every container.
PROFILE = {
    "securityContext.allowPrivilegeEscalation", "securityContext.capabilities.drop",
    "securityContext.runAsNonRoot", "securityContext.seccompProfile.type",
}
# Where each leaf and each branch is taken away in turn, of the sidecar and of the application's container.
WATCHED = {
    "cloakroom": ["securityContext", "resources", "startupProbe.exec", "readinessProbe.exec", "livenessProbe.exec",
                  "volumeMounts", "env", "restartPolicy"],
    "web": ["securityContext", "resources", "volumeMounts.readOnly"],
}
# What is there to be kind, and missing it breaks no promise.
OPTIONAL = {"securityContext.fsGroupChangePolicy", "volumes.configMap.defaultMode"}

failures = []


def claim(text, wrong):
    """A claim holds if there is nothing wrong."""
    wrong = list(wrong)
    print(("ok  " if not wrong else "FAILED  ") + text)
    for reason in wrong:
        print(f"    {reason}")
    failures.extend(wrong)


def render(directory):
    command = [TOOLS / "kubectl", "kustomize", directory]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        sys.exit(f"FAILED  {directory.name} cannot be rendered: {ran.stderr}")
    return [document for document in yaml.safe_load_all(ran.stdout) if document]


def schema_errors(documents, version):
    for document in documents:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            yield f"{document['kind']}: {error}"


def paths(value, prefix=()):
    """Every way into a structure, to branches as well as to leaves."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield prefix + (key,)
        yield from paths(below, prefix + (key,))


def without(value, path):
    changed = copy.deepcopy(value)
    inside = changed
    for key in path[:-1]:
        inside = inside[key]
    del inside[path[-1]]
    return changed


def dotted(path):
    return ".".join(str(key) for key in path if isinstance(key, str))


def mutations(pod):
    """What each mutation takes away, where, and what is left."""
    for kind in "initContainers", "containers":
        for index, container in enumerate(pod.get(kind, [])):
            for path in paths(container):
                if any((dotted(path) + ".").startswith(watched + ".") for watched in WATCHED[container["name"]]):
                    yield container["name"], path, without(pod, (kind, index, *path))
    for path in paths({key: pod[key] for key in ("securityContext", "volumes", "automountServiceAccountToken")}):
        yield "pod", path, without(pod, path)


def unnoticed(deployment):
    """Mutations that pass for right; and fields of the profile that no mutation took away."""
    pod = policy.pod_of(deployment)
    taken = {container["name"]: set() for container in policy.containers_of(pod)}
    for where, path, changed in mutations(pod):
        taken.setdefault(where, set()).add(dotted(path))
        if policy.problems(changed) or dotted(path) in OPTIONAL:
            continue
        document = copy.deepcopy(deployment)
        document["spec"]["template"]["spec"] = changed
        # What a policy need not say because Kubernetes does, as that a mount has a path.
        if not list(schema_errors([document], NEWEST)):
            yield f"{where} without {'.'.join(map(str, path))} passes"
    for container in policy.containers_of(pod):
        yield from (f"{container['name']}: {field} was not tried" for field in PROFILE - taken[container["name"]])


def additions(pod):
    """Wrong things that a mutation by taking away does not make."""
    def changed(change):
        result = copy.deepcopy(pod)
        change(result, result["initContainers"][0], result["containers"][0])
        return result

    def set_in(get, key, value):
        return lambda *parts: get(*parts).__setitem__(key, value)

    yield "host network", changed(set_in(lambda p, s, a: p, "hostNetwork", True))
    yield "shared processes", changed(set_in(lambda p, s, a: p, "shareProcessNamespace", True))
    yield "a directory of the host", changed(lambda p, s, a: p["volumes"].append({"name": "h", "hostPath": {}}))
    yield "privileged", changed(set_in(lambda p, s, a: a["securityContext"], "privileged", True))
    yield "a capability", changed(set_in(lambda p, s, a: s["securityContext"]["capabilities"], "add", ["NET_RAW"]))
    yield "uid 0", changed(set_in(lambda p, s, a: s["securityContext"], "runAsUser", 0))
    yield "the sidecar's uid", changed(set_in(lambda p, s, a: a["securityContext"], "runAsUser", 10002))
    yield "a port of the host", changed(lambda p, s, a: s["ports"][0].update(hostPort=9464))
    yield "a probe elsewhere", changed(set_in(lambda p, s, a: s, "livenessProbe", {"httpGet": {"host": "example.com"}}))
    yield "preStop", changed(set_in(lambda p, s, a: s, "lifecycle", {"preStop": {"exec": {"command": ["/x"]}}}))
    yield "a writable mount", changed(lambda p, s, a: a["volumeMounts"][0].update(readOnly=False))
    yield "a mounted file", changed(lambda p, s, a: s["volumeMounts"][2].update(subPath="client-secret"))
    yield "a secret for the application", changed(
        lambda p, s, a: a["volumeMounts"].append({"name": policy.SECRET, "mountPath": "/s", "readOnly": True}))
    yield "a mode for everybody", changed(
        lambda p, s, a: next(v for v in p["volumes"] if v["name"] == policy.SECRET)["secret"].update(defaultMode=0o444))
    yield "a sidecar that comes later", changed(lambda p, s, a: p["initContainers"].insert(0, copy.deepcopy(a)))


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


def mebibytes(text):
    return int(re.fullmatch(r"(\d+)(Mi|MiB)", text)[1])


def disagreements(documents, pod):
    """Between the configuration, the pod, the image and the rest of the repository."""
    config = tomllib.loads(next(d for d in documents if d["kind"] == "ConfigMap")["data"]["cloakroom.toml"])
    side, app = pod["initContainers"][0], pod["containers"][0]
    allowed = [rule["uid"] for rule in config["listener"][0]["allow"]]
    if allowed != [app["securityContext"]["runAsUser"]]:
        yield f"the rules are for {allowed}, which is not the application's uid"
    mounts = {mount["name"]: mount["mountPath"] for mount in side["volumeMounts"]}
    if str(Path(config["listener"][0]["path"]).parent) != mounts[policy.SOCKET]:
        yield "the socket is not made in its volume"
    if mounts[policy.CONFIG] != "/etc/cloakroom":
        yield "the configuration is not where the daemon looks for it"
    app_mount = {mount["name"]: mount["mountPath"] for mount in app["volumeMounts"]}[policy.SOCKET]
    if app_mount != "/run/cloakroom":
        yield "the application's clients do not find the socket where they look for it"
    deadline = seconds(config.get("shutdown", {}).get("deadline", "10s"))
    # For redemptions under way, where tokens are renewed.
    redemptions = 3 * seconds(config.get("providers", {}).get("request_timeout", "5s"))
    if deadline + redemptions + 3 >= pod["terminationGracePeriodSeconds"]:
        yield "the grace period does not leave time for the application, shutdown.deadline and redemptions"
    cache = mebibytes(config.get("cache", {}).get("max_bytes", "64MiB"))
    if mebibytes(side["resources"]["limits"]["memory"]) < 1.25 * cache + 32:
        yield "the memory limit is below what was measured with a full cache; see the page on sizes"
    port = config["admin"]["address"].rpartition(":")[2]
    annotated = next(d for d in documents if d["kind"] == "Deployment")["spec"]["template"]["metadata"]["annotations"]
    if not str(side["ports"][0]["containerPort"]) == port == annotated["prometheus.io/port"]:
        yield "the metrics' port is not the same everywhere"
    image = (ROOT / "deploy/Dockerfile").read_text()
    user = f"USER {side['securityContext']['runAsUser']}:{side['securityContext']['runAsGroup']}\n"
    if user not in image:
        yield "the image's uid is not the sidecar's"
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    if not side["image"].endswith(f":{version}"):
        yield f"the image's tag is not {version}"
    toolchain = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    builder = re.search(r"^ARG RUST_VERSION=(.*)$", image, re.MULTILINE)[1]
    if not toolchain.startswith(builder):
        yield f"the image is built with Rust {builder}, all else with {toolchain}"


BASE = """\
apiVersion: {api}
kind: {kind}
metadata: {{name: {name}, labels: {labels}}}
spec: {spec}
"""
POD = "{metadata: {labels: {app: a}}, spec: {RESTARTinitContainers: [{name: migrate, image: a}], \
containers: [{name: first, image: a}, {name: second, image: a}]}}"


def workloads():
    """One of every kind that the components know, with an init container and two others; and one without a label."""
    job = "{template: %s}" % POD.replace("RESTART", "restartPolicy: Never, ")
    running = "{selector: {matchLabels: {app: a}}, template: %s}" % POD.replace("RESTART", "")
    stateful = running.replace("{selector", "{serviceName: a, selector", 1)
    cron = '{schedule: "@daily", jobTemplate: {spec: %s}}' % job
    for kind, api, spec in [
        ("Deployment", "apps/v1", running), ("StatefulSet", "apps/v1", stateful), ("DaemonSet", "apps/v1", running),
        ("Job", "batch/v1", job), ("CronJob", "batch/v1", cron),
    ]:
        yield BASE.format(api=api, kind=kind, name="with", labels="{cloakroom: sidecar}", spec=spec)
        yield BASE.format(api=api, kind=kind, name="without", labels="{cloakroom: none}", spec=spec)


def rendered_with(*components):
    # Kustomize takes relative paths alone, and nothing from outside but whole directories.
    with tempfile.TemporaryDirectory(dir=KUBERNETES) as directory:
        Path(directory, "base.yaml").write_text("---\n".join(workloads()))
        kustomization = {"resources": ["base.yaml"], "components": [f"../{name}" for name in components]}
        Path(directory, "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return render(Path(directory))


def misplaced(documents, kinds, sidecar_in):
    """Workloads where the sidecar or its mount is not what and where it should be."""
    expected = None
    seen = 0
    for document in documents:
        pod, what = policy.pod_of(document), f"{document['kind']} {document['metadata']['name']}"
        touched = "cloakroom" in yaml.safe_dump(pod)
        if document["metadata"]["name"] == "without":
            if touched:
                yield f"{what} is not labelled and was changed"
            continue
        if document["kind"] not in kinds:
            continue
        seen += 1
        names = [container["name"] for container in pod[sidecar_in]]
        if names[0] != "cloakroom" or "migrate" not in [container["name"] for container in pod["initContainers"]]:
            yield f"{what}: {sidecar_in} are {names}"
        containers = [container for container in pod["containers"] if container["name"] != "cloakroom"]
        if [container.get("volumeMounts") for container in containers] != [
            [{"name": policy.SOCKET, "mountPath": "/run/cloakroom", "readOnly": True}], None,
        ]:
            yield f"{what}: the socket is not mounted into the first container alone"
        ours = pod[sidecar_in][0], pod.get("volumes"), pod["securityContext"]
        expected = expected or ours
        if ours != expected:
            yield f"{what}: not the same sidecar as elsewhere"
    if seen != len(kinds):
        yield f"{seen} workloads of {len(kinds)} were looked at"


def without_a_state(documents, plain):
    """What the component of the state's volume fails to give the StatefulSet, and what it gives to others."""
    claims = {document["metadata"]["name"]: document for document in documents
              if document["kind"] == "PersistentVolumeClaim"}
    if [claim["spec"]["accessModes"] for claim in claims.values()] != [["ReadWriteOncePod"]]:
        yield f"the claims are {claims}"
    for document in documents:
        what = document["kind"], document["metadata"]["name"]
        if document["kind"] == "PersistentVolumeClaim":
            continue
        if what != ("StatefulSet", "with"):
            if document not in plain:
                yield f"{what} was changed"
            continue
        pod = policy.pod_of(document)
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        if policy.at(volumes, "cloakroom-state", "persistentVolumeClaim", "claimName") not in claims:
            yield f"{what} has no volume for the state"
        if policy.at(volumes, "cloakroom-state-key", "secret", "defaultMode") != 0o440:
            yield f"{what}: the key's mode is not 0440"
        for container in policy.containers_of(pod):
            mounts = {mount["name"]: mount["mountPath"] for mount in container.get("volumeMounts", [])}
            held = {"cloakroom-state", "cloakroom-state-key"} & set(mounts)
            if len(held) != (2 if container["name"] == policy.SIDECAR else 0):
                yield f"{what}: {container['name']} mounts {sorted(held)}"
            if container["name"] == policy.SIDECAR:
                variables = {variable["name"]: variable["value"] for variable in container["env"]}
                for name, volume in ("PATH", "cloakroom-state"), ("KEY_FILE", "cloakroom-state-key"):
                    if not variables[f"CLOAKROOM_STATE__{name}"].startswith(f"{mounts.get(volume)}/"):
                        yield f"{what}: state.{name.lower()} is not in its volume"


def page():
    """What is wrong with the page's patches. Laid over the example, each has to change it and leave it valid."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    example = render(KUBERNETES / "example")
    patches = 0
    for block in blocks:
        kustomization = yaml.safe_load(block)
        if list(kustomization) != ["patches"]:
            continue
        patches += 1
        with tempfile.TemporaryDirectory(dir=KUBERNETES) as directory:
            kustomization["resources"] = ["../example"]
            Path(directory, "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
            changed = render(Path(directory))
        # The example has that mount already; written twice, it has to be there once.
        if (changed == example) != ("volumeMounts" in block):
            yield f"it changes nothing, or too much: {block}"
        yield from schema_errors(changed, OLDEST)
    if patches != 3:
        yield f"{patches} patches were tried instead of 3"


def main():
    example = render(KUBERNETES / "example")
    everywhere = rendered_with("sidecar", "mount")
    before = rendered_with("sidecar", "mount", "plain-container")
    with_state = rendered_with("sidecar", "mount", "state")
    deployment = next(document for document in example if document["kind"] == "Deployment")
    pod = policy.pod_of(deployment)

    for version in OLDEST, NEWEST:
        claim(f"the example is valid for {version}", schema_errors(example, version))
        claim("so is every kind of workload with the components", schema_errors(everywhere, version))
        claim("so is a StatefulSet with a volume for the state", schema_errors(with_state, version))
        typo = copy.deepcopy(deployment)
        typo["spec"]["template"]["spec"]["initContainers"][0]["restartPolicyy"] = "Always"
        claim(f"a misspelt field is not valid for {version}",
              [] if list(schema_errors([typo], version)) else ["restartPolicyy passes"])
    pods = [document for document in before if document["kind"] not in ("Job", "CronJob")]
    claim("without the native sidecar they are valid for 1.27, which knows none", schema_errors(pods, "1.27"))
    claim("and with it they are not", [] if list(schema_errors(everywhere, "1.27")) else ["restartPolicy passes"])

    claim("the example keeps the policy", policy.problems(pod))
    tried = len(list(mutations(pod)))
    claim(f"the policy notices whichever of {tried} parts is taken away", unnoticed(deployment))
    claim("it notices what is wrong and there",
          (f"{what} passes" for what, changed in additions(pod) if not policy.problems(changed)))
    claim("configuration, pod, image and sources agree", disagreements(example, pod))

    claim("the page's patches do what it says", page())

    kinds = ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"]
    claim("every labelled kind gets the same sidecar, first, and the mount",
          misplaced(everywhere, kinds, "initContainers"))
    claim("before 1.29 it is the first of the containers", misplaced(before, kinds[:3], "containers"))

    claim("the state's volume and its key are the sidecar's alone, and in StatefulSets alone",
          without_a_state(with_state, everywhere))

    print(f"{len(failures)} failures")
    sys.exit(1 if failures else 0)


main()
