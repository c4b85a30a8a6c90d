//! Services that cancel what nobody waits for any more.

use crate::values::convert::*;
use crate::values::spec::{Kind, Spec, optional, required};

static OLD: Spec = Spec {
    name: "util.OldBuildCanceller",
    kind: Kind::Canceller,
    params: &[&[
        required("name", TEXT, "Unique among services."),
        required("filters", PAIRS, "List of pairs: builders, and a `util.SourceStampFilter`."),
        optional(
            "branch_key",
            FUNCTION,
            "",
            "Function of a source stamp that returns what its branch counts as. Without it, the branch; of Gerrit's `refs/changes/…` without the number of the patch set.",
        ),
    ]],
    positional: 2,
    doc: "For `c[\"services\"]`: when a newer change is to be built by a builder, its older requests of the same branch end, \
          and their builds are stopped. A source without a branch is never old.",
    example: "util.OldBuildCanceller(\"superseded\", [([\"linux\"], util.SourceStampFilter(branch_not_eq = \"main\"))])",
};

static FAILING: Spec = Spec {
    name: "util.FailingBuildsetCanceller",
    kind: Kind::Canceller,
    params: &[&[
        required("name", TEXT, "Unique among services."),
        required(
            "filters",
            TRIPLES,
            "List of triples: builders, those to cancel when one of them fails (`None` is all), and a `util.SourceStampFilter`.",
        ),
    ]],
    positional: 2,
    doc: "For `c[\"services\"]`: when a build fails, the other builds of its buildset are cancelled.",
    example: "util.FailingBuildsetCanceller(\"fast\", [([\"check\"], [\"linux\"], util.SourceStampFilter())])",
};

pub(super) const SPECS: &[&Spec] = &[&OLD, &FAILING];
