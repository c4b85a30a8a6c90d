//! The form of a ForceScheduler as the project file gives it.

use tidemill_lang::definition::{FieldKind, ForceDef, SchedulerKind};
use tidemill_lang::{Limits, Project};
use tidemill_model::revision::Files;

fn project(scheduler: &str) -> Result<Project, String> {
    let text = format!(
        "f = util.BuildFactory([steps.ShellCommand(command = \"true\")])\n\
         c = {{\"builders\": [util.BuilderConfig(name = \"linux\", workernames = [\"*\"], factory = f)]}}\n\
         c[\"schedulers\"] = [schedulers.ForceScheduler(name = \"force\", builderNames = [\"linux\"], {scheduler})]\n"
    );
    Project::evaluate(&Files::single(text), &Limits::default()).map_err(|e| e.to_string())
}

fn form(scheduler: &str) -> ForceDef {
    let project = project(scheduler).unwrap();
    assert!(project.warnings().is_empty(), "{:?}", project.warnings());
    match &project.definition().schedulers[0].kind {
        SchedulerKind::Force(form) => (**form).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_form_that_says_nothing_has_a_codebase_a_reason_a_name_and_a_priority() {
    let form = form("");
    let names: Vec<String> = form.all().flat_map(|f| f.value_names()).collect();
    assert_eq!(names, ["username", "reason", "priority", "branch", "revision", "repository", "project"]);
}

#[test]
fn every_kind_of_parameter_is_a_field_and_names_of_groups_join() {
    let form = form(
        r#"codebases = ["app", util.CodebaseParameter(codebase = "lib", branch = util.ChoiceStringParameter(
                name = "branch", choices = ["a", "b"], default = "a"), revision = None, repository = "r", project = "",
                patch = util.PatchParameter())],
           properties = [
               util.StringParameter(name = "s", default = "x", regex = "x", maxsize = 5),
               util.TextParameter(name = "t", cols = 10, rows = 2),
               util.IntParameter(name = "i", default = 3),
               util.BooleanParameter(name = "b", default = True),
               util.ChoiceStringParameter(name = "c", choices = ["1", "2"], multiple = True, default = ["1"]),
               util.FixedParameter(name = "x", default = [1, 2]),
               util.UserNameParameter(name = "u", need_email = False),
               util.FileParameter(name = "f"),
               util.AnyPropertyParameter(name = "any"),
               util.InheritBuildParameter(name = "inherit"),
               util.WorkerChoiceParameter(),
               util.NestedParameter(name = "o", layout = "tabs", columns = 2, fields = [
                   util.NestedParameter(name = "p", fields = [util.StringParameter(name = "q")]),
                   util.NestedParameter(name = "", fields = [util.StringParameter(name = "r")]),
               ]),
           ]"#,
    );
    let names: Vec<String> = form.codebases.iter().chain(&form.properties).flat_map(|f| f.value_names()).collect();
    assert_eq!(
        names.join(" "),
        "app_branch app_revision app_repository app_project lib_branch lib_repository lib_project lib_patch_body \
         lib_patch_level lib_patch_author lib_patch_comment lib_patch_subdir s t i b c x u f any_name any_value \
         inherit workername o_p_q o_r"
    );
    assert_eq!(form.codebases[1].fields()[1].kind, FieldKind::Fixed);
}

#[test]
fn what_nobody_could_fill_in_is_an_error_at_its_place() {
    for (scheduler, said) in [
        (r#"properties = [util.StringParameter(name = "owner")]"#, "cannot be called `owner`"),
        (r#"properties = [util.StringParameter(name = "reason")]"#, "two fields of the form are called `reason`"),
        (r#"properties = [util.StringParameter(name = "a", regex = "(")]"#, "`regex` is not a regular expression"),
        (r#"properties = [util.IntParameter(name = "a", default = "x")]"#, "the default of `a` is not a value"),
        (
            r#"properties = [util.ChoiceStringParameter(name = "a", choices = ["b"], default = "c")]"#,
            "`c` is not one of b",
        ),
        (r#"properties = [util.StringParameter()]"#, "this StringParameter has no name"),
        (r#"priority = util.StringParameter(name = "priority")"#, "`priority` of a form is a util.IntParameter"),
        (r#"codebases = [util.CodebaseParameter(codebase = "", branch = 3)]"#, "`branch` of a codebase is a field"),
    ] {
        let error = project(scheduler).unwrap_err();
        assert!(error.contains(said), "{scheduler}: {error}");
        assert!(error.contains("master.star:3:"), "{error}");
    }
}

#[test]
fn a_requirement_that_cannot_be_read_is_an_error_at_its_place() {
    let text = "f = util.BuildFactory([steps.ShellCommand(command = \"true\")])\n\
                c = {\"builders\": [util.BuilderConfig(name = \"linux\", workernames = [\"*\"], factory = f, requires = \"os = 'x'\")],\n\
                \"workers\": []}\n";
    let error = Project::evaluate(&Files::single(text), &Limits::default()).unwrap_err().to_string();
    assert!(error.contains("at character 4: write `==`"), "{error}");
    assert!(error.contains("master.star:2:"), "{error}");
}
