//! Who may do what: by the account that services vouch for (RP-16). A nick
//! alone is nobody.

use std::collections::BTreeMap;

/// Who may use a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    Everyone,
    Nobody,
    /// These accounts.
    Accounts(Vec<String>),
}

/// Rules by command. Key `""` is for all others that are not dangerous, `"!"`
/// for dangerous ones. Without rules: everyone, and nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authz {
    rules: BTreeMap<String, Allowed>,
}

impl Authz {
    /// Keys are names of commands in small letters, `""` or `"!"`.
    pub fn new(rules: impl IntoIterator<Item = (String, Allowed)>) -> Authz {
        Authz { rules: rules.into_iter().map(|(k, v)| (k.to_lowercase(), v)).collect() }
    }

    pub fn rule(&self, command: &str, dangerous: bool) -> Allowed {
        let general = if dangerous { "!" } else { "" };
        let rule = self.rules.get(command).or_else(|| self.rules.get(general));
        rule.cloned().unwrap_or(if dangerous { Allowed::Nobody } else { Allowed::Everyone })
    }
}

impl Allowed {
    /// Whether an account is needed to know.
    pub fn asks_account(&self) -> bool {
        matches!(self, Allowed::Accounts(_))
    }

    /// Why this speaker may not; None if they may.
    pub fn refusal(&self, command: &str, account: Option<&str>) -> Option<String> {
        match (self, account) {
            (Allowed::Everyone, _) => None,
            (Allowed::Nobody, _) => Some(format!("nobody may use «{command}» here")),
            (Allowed::Accounts(_), None) => {
                Some(format!("«{command}» is for some accounts only, and you are not logged in to services"))
            }
            // Services compare accounts without case.
            (Allowed::Accounts(list), Some(a)) if list.iter().any(|l| l.eq_ignore_ascii_case(a)) => None,
            (Allowed::Accounts(_), Some(a)) => {
                Some(format!("«{command}» is not for the account {}", super::text::clean(a)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(authz: &Authz, command: &str, dangerous: bool, account: Option<&str>) -> bool {
        authz.rule(command, dangerous).refusal(command, account).is_none()
    }

    #[test]
    fn dangerous_commands_are_for_nobody_unless_a_rule_says_otherwise() {
        let none = Authz::default();
        assert!(may(&none, "list", false, None) && !may(&none, "force", true, Some("ada")));

        let ada = || Allowed::Accounts(vec!["Ada".into()]);
        let authz = Authz::new([("!".into(), ada()), ("stop".into(), Allowed::Nobody), (String::new(), ada())]);
        assert!(may(&authz, "force", true, Some("ada")) && !may(&authz, "force", true, Some("eve")));
        assert!(!may(&authz, "force", true, None) && !may(&authz, "stop", true, Some("ada")));
        assert!(!may(&authz, "list", false, Some("eve")));
    }
}
