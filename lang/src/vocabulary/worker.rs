//! `worker.…`

use crate::values::convert::*;
use crate::values::spec::{Kind, Param, Spec, ignored, optional, required};

const COMMON: &[Param] = &[
    required("name", TEXT, "Unique among workers."),
    ignored("password", "passwords are not read here; enrol with `tidemill worker add NAME`"),
    optional("max_builds", POSITIVE, "", "How many builds at once."),
    optional("properties", PROPERTIES, "{}", "Properties that its builds have."),
    optional("defaultProperties", PROPERTIES, "{}", "Properties that its builds have unless something else set them."),
    optional(
        "labels",
        PROPERTIES,
        "{}",
        "What builders may require of it (`requires`); over what the worker says of itself.",
    ),
    optional("locks", LOCKS, "[]", "Locks that each of its builds holds."),
    optional(
        "trusted_only",
        BOOL,
        "False",
        "Whether it takes no build of what an outsider announced, also of what somebody approved.",
    ),
    optional("notify_on_missing", VALUES, "[]", "Whom to tell when it stays away."),
];
const MISSING: &[Param] = &[optional("missing_timeout", SECONDS, "3600", "After how long.")];
const MACHINE: &[Param] = &[
    optional("machine_name", OPTIONAL_TEXT, "", "The machine that it runs on."),
    ignored("keepalive_interval", "workers keep their own connection"),
];

static WORKER: Spec = Spec {
    name: "worker.Worker",
    kind: Kind::Worker,
    params: &[COMMON, MISSING, MACHINE],
    positional: 2,
    doc: "A worker that builders may name. It is enrolled with `tidemill worker add NAME`.",
    example: "worker.Worker(\"ada\", max_builds = 4, properties = {\"os\": \"linux\"})",
};

const fn latent(name: &'static str, doc: &'static str) -> Spec {
    Spec { name, kind: Kind::Worker, params: &[COMMON, MISSING, MACHINE, &[OPEN]], positional: 2, doc, example: "" }
}

static LOCAL: Spec = latent("worker.LocalWorker", "A worker inside the master; here a worker like any other.");

static CUSTOM: Spec = Spec {
    name: "worker.CustomLatentWorker",
    kind: Kind::Worker,
    params: &[
        COMMON,
        &[
            required("start_instance", CALLABLE, "Function of a context that starts the machine."),
            required("stop_instance", CALLABLE, "Function of a context and `fast` that stops it."),
            optional(
                "check_instance",
                FUNCTION,
                "",
                "Function of a context that says whether the machine lives, while its worker has not connected: `True`, `False`, or a pair with a text, as in `(False, \"no such machine\")`.",
            ),
            optional("attrs", PROPERTIES, "{}", "Values for `ctx.attrs`."),
            optional(
                "build_wait_timeout",
                WAIT,
                "600",
                "How long it may be idle before it is stopped; 0 stops it after each build, a number below 0 never.",
            ),
            optional("missing_timeout", SECONDS, "1200", "How long its worker may take to connect after the start."),
            optional("check_instance_interval", INTERVAL, "10", "Seconds between two calls of `check_instance`."),
            optional(
                "start_missing_on_startup",
                BOOL,
                "True",
                "Whether it is started at once if it is to be there always (`build_wait_timeout` below 0).",
            ),
        ],
        MACHINE,
    ],
    positional: 2,
    doc: "A worker that functions of your own start when a build needs it, and stop. They get a context: `ctx.name`, \
          `ctx.attrs`, `ctx.now` (seconds), `ctx.state` (a dict that is kept from call to call, also when a function fails, \
          so that what was started can be stopped), `ctx.build` (for `start_instance` the build that it is for, with \
          properties and source stamps; else `None`), `ctx.http` and `ctx.command`, as for changes.PollingChangeSource. \
          `start_instance(ctx)` need not wait until the worker has connected. It returns `True` or `None` when it started \
          the machine, or a text or a list of short texts that name it for people; `False` when it cannot now; and calls \
          `fail(text)` when something is wrong. `stop_instance(ctx, fast)` returns when the machine is gone, or, with \
          `fast`, as soon as it is safe, for the master ends; what it returns is ignored. A worker on the machine is \
          enrolled like any other, with `tidemill worker add NAME`.",
    example: "worker.CustomLatentWorker(\"cloud\", start_instance = lambda ctx: ctx.command([\"cloud\", \"start\", ctx.name]).rc == 0, \
              stop_instance = lambda ctx, fast: ctx.command([\"cloud\", \"stop\", ctx.name]), build_wait_timeout = 300)",
};

static DOCKER: Spec = latent("worker.DockerLatentWorker", "A worker that is started in a container.");
static EC2: Spec = latent("worker.EC2LatentWorker", "A worker that is started on EC2.");
static KUBE: Spec = latent("worker.KubeLatentWorker", "A worker that is started on Kubernetes.");
static LIBVIRT: Spec = latent("worker.LibVirtWorker", "A worker that is started by libvirt.");
static MARATHON: Spec = latent("worker.MarathonLatentWorker", "A worker that is started on Marathon.");
static OPENSTACK: Spec = latent("worker.OpenStackLatentWorker", "A worker that is started on OpenStack.");
static UPCLOUD: Spec = latent("worker.UpcloudLatentWorker", "A worker that is started on UpCloud.");

pub(super) const SPECS: &[&[&Spec]] =
    &[&[&WORKER, &LOCAL, &CUSTOM, &DOCKER, &EC2, &KUBE, &LIBVIRT, &MARATHON, &OPENSTACK, &UPCLOUD]];

pub(super) const LATER: &[&str] = &[];
