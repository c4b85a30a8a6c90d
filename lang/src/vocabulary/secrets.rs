//! `secrets.…` that ask a server: HashiCorp Vault's key-value store.

use super::reporters;
use crate::values::convert::*;
use crate::values::spec::{Kind, Param, Spec, Type, optional, required};
use crate::values::tree::Tree;

const AUTHENTICATOR: Type = Type {
    expected: "a secrets.VaultAuthenticatorToken or secrets.VaultAuthenticatorApprole",
    placeholder: false,
    fits: |t| matches!(t, Tree::Descriptor(s) if s.name.starts_with("secrets.VaultAuthenticator")),
};

const NAME: Param = optional("name", TEXT, "", "Tells several of one kind apart.");

static VAULT: Spec = Spec {
    name: "secrets.HashiCorpVaultKvSecretProvider",
    kind: Kind::SecretsProvider,
    params: &[&[
        required("vault_server", TEXT, "The server's address."),
        required("authenticator", AUTHENTICATOR, "What proves the masters to it."),
        optional("secrets_mount", TEXT, "\"secret\"", "Where the store is mounted."),
        optional("api_version", POSITIVE, "2", "1 or 2: the version of the store."),
        optional("path_delimiter", TEXT, "\"|\"", "The character between path and key."),
        optional("path_escape", TEXT, "\"\\\\\"", "The character that makes one after it plain text."),
        NAME,
    ]],
    positional: 0,
    doc: "Secrets are values of a HashiCorp Vault's key-value store: `util.Secret(\"team/app|password\")` is the key \
          `password` at the path `team/app`. A name without the delimiter is left to other providers.",
    example: "secrets.HashiCorpVaultKvSecretProvider(vault_server = \"https://vault.example.org\", authenticator = secrets.VaultAuthenticatorToken(util.Secret(\"vault-token\")))",
};

static VAULT_OLD: Spec = Spec {
    name: "secrets.SecretInVault",
    kind: Kind::SecretsProvider,
    params: &[&[
        required("vaultToken", SECRET, "The token, best a `util.Secret`."),
        required("vaultServer", TEXT, "The server's address."),
        optional("secretsmount", TEXT, "\"secret\"", "Where the store is mounted."),
        optional("apiVersion", POSITIVE, "1", "1 or 2: the version of the store."),
        NAME,
    ]],
    positional: 0,
    doc: "The older name of `secrets.HashiCorpVaultKvSecretProvider`: `util.Secret(\"team/app/password\")` is the key \
          `password` at the path `team/app`, and `util.Secret(\"app\")` the key `value` at `app`.",
    example: "secrets.SecretInVault(vaultToken = util.Secret(\"vault-token\"), vaultServer = \"https://vault.example.org\")",
};

static TOKEN: Spec = Spec {
    name: "secrets.VaultAuthenticatorToken",
    kind: Kind::Part,
    params: &[&[required("token", SECRET, "The token, best a `util.Secret` of the masters' own.")]],
    positional: 1,
    doc: "A token proves the masters to Vault.",
    example: "secrets.VaultAuthenticatorToken(util.Secret(\"vault-token\"))",
};

static APPROLE: Spec = Spec {
    name: "secrets.VaultAuthenticatorApprole",
    kind: Kind::Part,
    params: &[&[
        required("roleId", SECRET, "The role's id."),
        required("secretId", SECRET, "Its secret, best a `util.Secret` of the masters' own."),
    ]],
    positional: 2,
    doc: "A role proves the masters to Vault: they log in with it for each secret, and end the login.",
    example: "secrets.VaultAuthenticatorApprole(\"4f2a\", util.Secret(\"vault-role\"))",
};

pub(super) const SPECS: &[&[&Spec]] = &[reporters::SECRETS, &[&VAULT, &VAULT_OLD, &TOKEN, &APPROLE]];
