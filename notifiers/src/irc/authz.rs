//! Who may do what: by the account that services vouch for (RP-16). A nick
//! alone is nobody.

/// Who may use a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    Everyone,
    Nobody,
    /// These accounts.
    Accounts(Vec<String>),
}

/// Rules by names of commands. `""` is each harmless one, `"!"` each dangerous
/// one, `"*"` each; what names a command goes before what names many. Without
/// a rule: everyone what is harmless, nobody what is dangerous.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authz {
    rules: Vec<(Vec<String>, Allowed)>,
}

impl Authz {
    /// Of two rules that name the same the first counts.
    pub fn new(rules: impl IntoIterator<Item = (Vec<String>, Allowed)>) -> Authz {
        let small = |names: Vec<String>| names.iter().map(|n| n.to_lowercase()).collect();
        Authz { rules: rules.into_iter().map(|(names, allowed)| (small(names), allowed)).collect() }
    }

    pub fn rule(&self, command: &str, dangerous: bool) -> Allowed {
        let names = [command, if dangerous { "!" } else { "" }, "*"];
        let rule = names.iter().find_map(|name| self.rules.iter().find(|(n, _)| n.iter().any(|n| n == name)));
        match rule {
            Some((_, allowed)) => allowed.clone(),
            None if dangerous => Allowed::Nobody,
            None => Allowed::Everyone,
        }
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
        let authz = Authz::new([
            (vec!["*".into()], Allowed::Everyone),
            (vec!["!".into(), String::new()], ada()),
            (vec!["STOP".into()], Allowed::Nobody),
        ]);
        assert!(may(&authz, "force", true, Some("ada")) && !may(&authz, "force", true, Some("eve")));
        assert!(!may(&authz, "force", true, None) && !may(&authz, "stop", true, Some("ada")));
        assert!(!may(&authz, "list", false, Some("eve")));
        let open = Authz::new([(vec!["*".into()], Allowed::Everyone)]);
        assert!(may(&open, "list", false, None) && may(&open, "force", true, None));
    }
}
