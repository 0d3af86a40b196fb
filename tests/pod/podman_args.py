"""What a kubelet makes of one container of a rendered manifest, as arguments for podman, one a line.

    podman_args.py MANIFESTS CONTAINER VOLUMES   of `podman run`; VOLUMES holds a directory for each of the pod's
    podman_args.py MANIFESTS CONTAINER --PROBE   the command of its startup, readiness or liveness probe

So what is tested is what the manifest says, and not what somebody wrote down beside it.
"""

import sys

import yaml


def main(manifests, container, what):
    with open(manifests) as file:
        documents = list(yaml.safe_load_all(file))
    pod = next(d for d in documents if d["kind"] == "Deployment")["spec"]["template"]["spec"]
    found = next(c for c in pod["initContainers"] + pod["containers"] if c["name"] == container)
    if what.startswith("--"):
        lines = found[f"{what[2:]}Probe"]["exec"]["command"]
    else:
        lines = arguments(pod, found, what)
    print("\n".join(lines))


def arguments(pod, container, volumes):
    security = container["securityContext"]
    yield f"--user={security['runAsUser']}:{security['runAsGroup']}"
    yield f"--group-add={pod['securityContext']['fsGroup']}"
    for capability in security["capabilities"]["drop"]:
        yield f"--cap-drop={capability.lower()}"
    if security["allowPrivilegeEscalation"] is False:
        yield "--security-opt=no-new-privileges"
    # Without a profile a kubelet filters nothing, where podman would.
    if security["seccompProfile"]["type"] != "RuntimeDefault":
        yield "--security-opt=seccomp=unconfined"
    if security["readOnlyRootFilesystem"]:
        # podman would put writable directories of its own into it.
        yield "--read-only"
        yield "--read-only-tmpfs=false"
    for variable in container.get("env", []):
        yield f"--env={variable['name']}={variable['value']}"
    for mount in container["volumeMounts"]:
        mode = "ro" if mount.get("readOnly") else "rw"
        yield f"--volume={volumes}/{mount['name']}:{mount['mountPath']}:{mode}"


main(*sys.argv[1:])
