//! `secrets.…`: where secrets come from.

use crate::values::convert::*;
use crate::values::spec::{Kind, Param, Spec, optional};

const PARAMS: &[&[Param]] = &[&[optional("name", TEXT, "", "Tells several of one kind apart."), OPEN]];

const fn spec(name: &'static str, doc: &'static str) -> Spec {
    Spec { name, kind: Kind::SecretsProvider, params: PARAMS, positional: 0, doc, example: "" }
}

static IN_A_FILE: Spec = spec(
    "secrets.SecretInAFile",
    "Secrets are files of the masters' folder `master.secrets_dir`, or of the folder `dirname` below it, named as the secrets are; `suffixes` lists endings of files, `strip = False` keeps the last line's end.",
);
static VAULT: Spec =
    spec("secrets.HashiCorpVaultKvSecretProvider", "Secrets are in the key-value store of a HashiCorp Vault.");
static VAULT_OLD: Spec = spec("secrets.SecretInVault", "Secrets are in a HashiCorp Vault; the older name.");
static PASS: Spec = spec("secrets.SecretInPass", "Secrets are in the password store `pass`.");
static ENVIRONMENT: Spec = spec(
    "secrets.SecretInEnvironment",
    "Secrets are variables of the masters' environment: `TIDEMILL_SECRET_` and the name in capitals.",
);

pub(super) const SPECS: &[&[&Spec]] = &[&[&IN_A_FILE, &VAULT, &VAULT_OLD, &PASS, &ENVIRONMENT]];
