"""What has to hold for a pod with cloakroom in it. `problems` names all that does not.

First the restricted profile of the Pod Security Standards, which is what a cluster checks. Unlike a cluster we want
every field of it on every container, and not inherited from the pod: containers are moved, and pods are patched.
Then what the page beside the manifests promises beyond that.
"""

SIDECAR = "cloakroom"
SOCKET, SECRET, CONFIG = "cloakroom-socket", "cloakroom-secret", "cloakroom-config"
PROBES = {"startupProbe": "--started", "readinessProbe": "--ready", "livenessProbe": "--live"}
VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}


def pod_of(document):
    """The pod template's specification; None for what makes no pods."""
    spec = document.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    return spec.get("template", {}).get("spec")


def containers_of(pod):
    return pod.get("initContainers", []) + pod.get("containers", []) + pod.get("ephemeralContainers", [])


def at(value, *path):
    """What is at the end of a path of keys; None where it ends before."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def problems(pod):
    found = list(of_pod(pod))
    for container in containers_of(pod):
        reports = [*restricted(container), *shared(container)]
        reports += sidecar(container, pod) if container["name"] == SIDECAR else other(container, pod)
        found += [f"{container['name']}: {report}" for report in reports]
    return found


def of_pod(pod):
    for field in "hostNetwork", "hostPID", "hostIPC":
        if pod.get(field):
            yield f"{field} is set"
    for volume in pod.get("volumes", []):
        if not set(volume) - {"name"} <= VOLUMES:
            yield f"volume {volume['name']} is of a kind that the restricted profile refuses"
    security = pod.get("securityContext", {})
    for field in "sysctls", "windowsOptions", "seLinuxOptions", "appArmorProfile":
        if field in security:
            yield f"securityContext.{field} is set, which no one needs here"

    if not security.get("fsGroup"):
        yield "no fsGroup: the application's uid cannot use the socket"
    if pod.get("automountServiceAccountToken") is not False:
        yield "a token of the cluster is mounted"
    if pod.get("shareProcessNamespace"):
        yield "containers see each other's processes"
    if [container["name"] for container in containers_of(pod)].count(SIDECAR) != 1:
        yield "there is not one sidecar"
    volumes = {volume.get("name"): volume for volume in pod.get("volumes", [])}
    if at(volumes, SOCKET, "emptyDir", "medium") != "Memory":
        yield "the socket's volume is not in memory"
    if at(volumes, SOCKET, "emptyDir", "sizeLimit") is None:
        yield "the socket's volume is not limited"
    if at(volumes, SECRET, "secret", "secretName") is None:
        yield "there is no secret"
    if at(volumes, SECRET, "secret", "defaultMode") != 0o440:
        yield "the secret's mode is not 0440"
    if at(volumes, CONFIG, "configMap", "name") is None:
        yield "there is no configuration"


def restricted(container):
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if "ALL" not in (at(security, "capabilities", "drop") or []):
        yield "capabilities.drop does not hold ALL"
    if at(security, "capabilities", "add"):
        yield "capabilities are added"
    if security.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if at(security, "seccompProfile", "type") not in ("RuntimeDefault", "Localhost"):
        yield "there is no seccompProfile"
    if security.get("privileged"):
        yield "privileged"
    if security.get("procMount", "Default") != "Default":
        yield "procMount is not the default"
    for field in "windowsOptions", "seLinuxOptions", "appArmorProfile":
        if field in security:
            yield f"{field} is set, which no one needs here"
    if any("hostPort" in port or "hostIP" in port for port in container.get("ports", [])):
        yield "a port of the host is taken"
    for hook in [container.get(probe, {}) for probe in PROBES] + list(container.get("lifecycle", {}).values()):
        if at(hook, "httpGet", "host") or at(hook, "tcpSocket", "host"):
            yield "a probe or hook names a host"


def shared(container):
    """What both have to have, beyond the profile."""
    security = container.get("securityContext", {})
    if not security.get("runAsUser"):
        yield "no runAsUser: rules go by it"
    if not security.get("runAsGroup"):
        yield "no runAsGroup: it would be root's"
    if security.get("readOnlyRootFilesystem") is not True:
        yield "the root filesystem can be written to"
    for kind, resource in ("requests", "cpu"), ("requests", "memory"), ("limits", "memory"):
        if at(container, "resources", kind, resource) is None:
            yield f"no resources.{kind}.{resource}"


def sidecar(container, pod):
    if container in pod.get("initContainers", []):
        if container.get("restartPolicy") != "Always":
            yield "no native sidecar: without restartPolicy Always the pod waits for it to end"
        if container is not pod["initContainers"][0]:
            yield "not the first: the init containers before it cannot ask it"
    for probe, flag in PROBES.items():
        if at(container, probe, "exec", "command") != ["/cloakroom", "healthcheck", flag]:
            yield f"{probe} does not ask for {flag}"
    if at(container, "lifecycle", "preStop"):
        yield "a preStop hook runs when the pod begins to end, while the application still asks"
    if at(container, "resources", "limits", "cpu"):
        yield "a CPU limit stops it in the middle of an answer"
    mounts = {mount.get("name"): mount for mount in container.get("volumeMounts", [])}
    for name in SOCKET, SECRET, CONFIG:
        if name not in mounts:
            yield f"{name} is not mounted"
        elif "subPath" in mounts[name] or "subPathExpr" in mounts[name]:
            yield f"{name} is mounted by subPath, which never sees a new version"
        elif (mounts[name].get("readOnly") is True) == (name == SOCKET):
            yield f"{name} is mounted the wrong way, read-only or not"
    variables = {variable.get("name"): variable for variable in container.get("env", [])}
    secret_file = at(variables, "CLOAKROOM_TENANT__CLIENT__SECRET_FILE", "value") or ""
    if SECRET in mounts and not secret_file.startswith(f"{mounts[SECRET].get('mountPath')}/"):
        yield "the secret is not looked for where it is mounted"
    users = [at(other, "securityContext", "runAsUser") for other in containers_of(pod) if other is not container]
    if at(container, "securityContext", "runAsUser") in users:
        yield "another container has its uid"


def other(container, pod):
    for mount in container.get("volumeMounts", []):
        if mount.get("name") == SECRET:
            yield "the client secret is mounted"
        if mount.get("name") == SOCKET and mount.get("readOnly") is not True:
            yield "the socket's volume can be written to: another socket could be put there"
        if mount.get("name") == SOCKET and ("subPath" in mount or "subPathExpr" in mount):
            yield "the socket is mounted by subPath, which goes stale when the sidecar is restarted"
