//! The mistakes that people make most, and what they are told. The texts are
//! snapshots: `INSTA_UPDATE=always` writes them anew.

mod support;

use tidemill_lang::{Limits, Project, Severity};
use tidemill_model::revision::Files;

/// A name for the mistake, and the file. `B` is a good builder, on one line.
const B: &str = "b = util.BuilderConfig(name = \"linux\", workernames = [\"*\"], factory = util.BuildFactory([steps.ShellCommand(command = \"make\")]))";

const MISTAKES: [(&str, &str); 58] = [
    ("pythons_first_line", "c = BuildmasterConfig = {}\n"),
    ("an_import", "from buildbot.plugins import *\nc = {}\n"),
    ("no_configuration", "config = {}\n"),
    ("a_configuration_that_is_no_dict", "c = []\n"),
    ("two_configurations", "c = {'title': 'a'}\nBuildmasterConfig = {'title': 'b'}\n"),
    ("a_key_that_does_not_exist", "c = {}\nc['bulders'] = []\n"),
    ("a_key_of_the_master_itself", "c = {}\nc['db'] = {}\nc['builders'] = [B]\n"),
    ("a_class", "class A:\n    pass\nc = {}\n"),
    ("a_while_loop", "c = {}\nwhile True:\n    pass\n"),
    ("a_try", "try:\n    x = 1\nexcept:\n    pass\n"),
    ("a_decorator", "@util.renderer\ndef f(props):\n    return 1\n"),
    ("an_is", "c = {}\nif c is None:\n    pass\n"),
    ("a_tab", "c = {}\nif c:\n\tpass\n"),
    ("a_bracket_left_open", "c = {}\nx = [1, 2\ny = 3\n"),
    ("a_missing_comma_in_a_call", "c = {}\nsteps.ShellCommand(\n    name = 'x'\n    command = 'make',\n)\n"),
    ("a_missing_comma_in_a_list", "c = {}\nx = ['a'\n     'b']\n"),
    ("a_missing_comma_on_one_line", "c = {}\nsteps.ShellCommand(name = 'x' command = 'make')\n"),
    ("a_missing_equals_sign", "c = {}\nsteps.ShellCommand(command 'make')\n"),
    ("a_call_left_open", "c = {}\nsteps.ShellCommand(\n    command = 'make',\n\nx = 1\n"),
    ("a_bracket_too_many", "c = {}\nx = (1, 2))\n"),
    ("a_missing_colon", "c = {}\ndef f()\n    return 1\n"),
    ("a_slip_in_an_option_of_a_template", "c = {}\nutil.Interpolate('%(prop:x)s', stric = True)\n"),
    (
        "a_slip_in_a_template_of_a_mail",
        "c = {}\nwords = reporters.MessageFormatter(\n    template = \"\"\"{{ buildername }}\n{{ build.numbr }} by {{ blamelist | jion(', ') }}\"\"\",\n)\nc['services'] = [reporters.MailNotifier('ci@example.org', generators = [reporters.BuildStatusGenerator(message_formatter = words)])]\n",
    ),
    (
        "arguments_of_mails_before_generators",
        "c = {}\nc['services'] = [reporters.MailNotifier('ci@example.org', mode = 'failing', addLogs = True)]\n",
    ),
    ("arguments_of_a_reporter_without_names", "c = {}\nreporters.PushoverNotifier('a')\n"),
    (
        "a_time_as_text",
        "c = {}\nsteps.ShellCommand(command = 'x', timeout = '10 min', haltOnFailure = 'yes', env = ['A=1'])\n",
    ),
    (
        "one_name_where_a_list_belongs",
        "c = {}\nc['builders'] = [util.BuilderConfig(name = 'x', workernames = 'w', factory = [])]\n",
    ),
    ("a_format_in_an_f_string", "c = {}\nn = 1\nx = f\"{n:02d}\"\n"),
    ("a_slip_in_an_argument", "c = {}\nsteps.ShellCommand(command = 'x', haltOnFailur = True)\n"),
    ("a_missing_argument", "c = {}\nsteps.Git()\n"),
    ("a_wrong_type", "c = {}\nsteps.ShellCommand(command = 5)\n"),
    ("a_slip_in_a_step", "c = {}\nsteps.ShelCommand(command = 'x')\n"),
    ("arguments_without_names", "c = {}\nsteps.ShellCommand('make', 'all')\n"),
    ("a_step_without_brackets", "c = {}\nf = util.BuildFactory([steps.ShellCommand])\n"),
    ("a_step_of_a_later_release", "c = {}\nsteps.MsBuild17(projectfile = 'a')\n"),
    ("a_builder_without_a_factory", "c = {}\nc['builders'] = [util.BuilderConfig(name = 'x', workernames = ['*'])]\n"),
    (
        "a_builder_without_workers",
        "c = {}\nc['builders'] = [util.BuilderConfig(name = 'x', workernames = [], factory = util.BuildFactory())]\n",
    ),
    ("two_builders_of_one_name", "c = {}\nc['builders'] = [B, B]\n"),
    (
        "a_builder_that_a_scheduler_misspells",
        "c = {}\nc['builders'] = [B]\nc['schedulers'] = [schedulers.SingleBranchScheduler(name = 's', builderNames = ['linx'])]\n",
    ),
    (
        "a_worker_that_is_not_there",
        "c = {}\nc['workers'] = [worker.Worker('one')]\nc['builders'] = [util.BuilderConfig(name = 'x', workernames = ['on'], factory = util.BuildFactory())]\n",
    ),
    (
        "an_upstream_that_is_not_there",
        "c = {}\nc['builders'] = [B]\nc['schedulers'] = [schedulers.Dependent(name = 'd', upstream = 'main', builderNames = ['linux'])]\n",
    ),
    (
        "a_filter_and_a_branch",
        "c = {}\nc['builders'] = [B]\nc['schedulers'] = [schedulers.SingleBranchScheduler(name = 's', branch = 'x', change_filter = util.ChangeFilter(branch = 'y'), builderNames = ['linux'])]\n",
    ),
    (
        "a_wrong_regular_expression",
        "c = {}\nc['builders'] = [B]\nc['schedulers'] = [schedulers.AnyBranchScheduler(name = 's', change_filter = util.ChangeFilter(branch_re = '(?!x)'), builderNames = ['linux'])]\n",
    ),
    (
        "a_latent_worker_that_nobody_stops",
        "c = {}\nworker.CustomLatentWorker('w', start_instance = lambda ctx: True, build_wait_timeout = '5 min')\n",
    ),
    ("the_class_of_buildbots_latent_workers", "c = {}\nworker.AbstractLatentWorker('w')\n"),
    ("a_percent_sign", "c = {}\nutil.Interpolate('100% of %(prop:x)s')\n"),
    ("a_template_without_a_selector", "c = {}\nutil.Interpolate('%(branch)s')\n"),
    ("a_keyword_that_is_not_given", "c = {}\nutil.Interpolate('%(kw:targt)s', target = 1)\n"),
    ("a_folder_outside", "c = {}\nsteps.ShellCommand(command = 'x', workdir = '../other')\n"),
    (
        "a_placeholder_where_none_can_be",
        "c = {}\nutil.BuilderConfig(name = util.Property('x'), workernames = ['*'], factory = util.BuildFactory())\n",
    ),
    (
        "an_old_name",
        "c = {}\nc['builders'] = [util.BuilderConfig(name = 'x', slavenames = ['*'], factory = util.BuildFactory([steps.ShellCommand(command = 'x')]))]\n",
    ),
    ("a_file_that_is_not_there", "load('factores.star', 'f')\nc = {}\n"),
    ("a_name_that_is_not_defined", "c = {}\nc['builders'] = [bulider]\n"),
    ("a_growing_assignment", "c = {}\nx = 'x'\nx *= 2000000000\n"),
    ("a_text_too_large", "c = {}\nx = 'x' * 2000000000\n"),
    (
        "a_lock_of_the_build_and_of_its_step",
        "db = util.MasterLock('db')\nf = util.BuildFactory([steps.ShellCommand(command = 'x', locks = [db.access('exclusive')])])\nc = {'builders': [util.BuilderConfig(name = 'b', workernames = ['w'], factory = f, locks = [db.access('counting')])], 'workers': [worker.Worker('w')]}\n",
    ),
    ("two_locks_of_one_name", "c = {}\nc['locks'] = [util.MasterLock('l'), util.MasterLock('l', maxCount = 2)]\n"),
    (
        "a_custom_step_without_its_argument",
        "S = util.BuildStep(implementation = lambda self: SUCCESS, attrs = {'dirname': util.attr(str, doc = 'where to look')})\nc = {}\nS(dirnam = 1)\n",
    ),
];

#[test]
fn the_most_likely_mistakes_are_told_with_place_and_remedy() {
    let mut told = String::new();
    for (name, text) in MISTAKES {
        let text = text.replace("[B", &format!("[{}", &B[4..])).replace(", B]", &format!(", {}]", &B[4..]));
        let mut files = Files::single(text);
        files.0.insert("factories.star".into(), "def f():\n    pass\n".into());
        let report = Project::check(&files, &Limits::default());
        let shown: Vec<_> =
            report.diagnostics.iter().filter(|d| d.severity <= Severity::Warning).map(|d| d.to_string()).collect();
        assert!(!shown.is_empty(), "{name}");
        assert!(report.diagnostics.iter().all(|d| d.line > 0 && !d.file.is_empty()), "{name}");
        told.push_str(&format!("## {name}\n{}\n\n", shown.join("\n\n")));
    }
    insta::assert_snapshot!("mistakes", told);
}
