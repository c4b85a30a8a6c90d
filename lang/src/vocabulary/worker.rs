//! `worker.…`

use crate::values::convert::*;
use crate::values::spec::{Kind, Param, Spec, ignored, optional, required};

const COMMON: &[Param] = &[
    required("name", TEXT, "Unique among workers."),
    ignored("password", "passwords are not read here; enrol with `tidemill worker add NAME`"),
    optional("max_builds", POSITIVE, "", "How many builds at once."),
    optional("properties", PROPERTIES, "{}", "Properties that its builds have."),
    optional("defaultProperties", PROPERTIES, "{}", "Properties that its builds have unless something else set them."),
    optional("locks", LOCKS, "[]", "Locks that each of its builds holds."),
    optional("notify_on_missing", VALUES, "[]", "Whom to tell when it stays away."),
    optional("missing_timeout", SECONDS, "3600", "After how long."),
    optional("machine_name", OPTIONAL_TEXT, "", "The machine that it runs on."),
    ignored("keepalive_interval", "workers keep their own connection"),
];

static WORKER: Spec = Spec {
    name: "worker.Worker",
    kind: Kind::Worker,
    params: &[COMMON],
    positional: 2,
    doc: "A worker that builders may name. It is enrolled with `tidemill worker add NAME`.",
    example: "worker.Worker(\"ada\", max_builds = 4, properties = {\"os\": \"linux\"})",
};

const fn latent(name: &'static str, doc: &'static str) -> Spec {
    Spec { name, kind: Kind::Worker, params: &[COMMON, &[OPEN]], positional: 2, doc, example: "" }
}

static LOCAL: Spec = latent("worker.LocalWorker", "A worker inside the master; here a worker like any other.");
static DOCKER: Spec = latent("worker.DockerLatentWorker", "A worker that is started in a container.");
static EC2: Spec = latent("worker.EC2LatentWorker", "A worker that is started on EC2.");
static KUBE: Spec = latent("worker.KubeLatentWorker", "A worker that is started on Kubernetes.");
static LIBVIRT: Spec = latent("worker.LibVirtWorker", "A worker that is started by libvirt.");
static MARATHON: Spec = latent("worker.MarathonLatentWorker", "A worker that is started on Marathon.");
static OPENSTACK: Spec = latent("worker.OpenStackLatentWorker", "A worker that is started on OpenStack.");
static UPCLOUD: Spec = latent("worker.UpcloudLatentWorker", "A worker that is started on UpCloud.");

pub(super) const SPECS: &[&[&Spec]] =
    &[&[&WORKER, &LOCAL, &DOCKER, &EC2, &KUBE, &LIBVIRT, &MARATHON, &OPENSTACK, &UPCLOUD]];

pub(super) const LATER: &[&str] = &[];
