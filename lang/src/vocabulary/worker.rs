//! `worker.…`

use crate::values::convert::*;
use crate::values::spec::{Kind, Spec, ignored, later, optional, required};

static WORKER: Spec = Spec {
    name: "worker.Worker",
    kind: Kind::Worker,
    params: &[&[
        required("name", TEXT),
        ignored("password", "passwords are not read here; enrol with `tidemill worker add NAME`"),
        optional("max_builds", POSITIVE),
        optional("properties", PROPERTIES),
        ignored("keepalive_interval", "workers keep their own connection"),
        later("defaultProperties"),
        later("locks"),
        later("machine_name"),
        later("missing_timeout"),
        later("notify_on_missing"),
    ]],
    positional: 2,
};

pub(super) const SPECS: &[&Spec] = &[&WORKER];

pub(super) const LATER: &[&str] = &[
    "DockerLatentWorker",
    "EC2LatentWorker",
    "KubeLatentWorker",
    "LibVirtWorker",
    "LocalWorker",
    "MarathonLatentWorker",
    "OpenStackLatentWorker",
    "UpcloudLatentWorker",
];
