//! Steps that work on files of the worker, and move them.

use super::common::{COMMON, WORKDIR, library, step};
use crate::values::convert::*;
use crate::values::spec::{Param, Spec, optional, required};

const URL: &[Param] = &[
    optional("url", R_OPTIONAL_TEXT, "", "A link for the page."),
    optional("urlText", R_OPTIONAL_TEXT, "", "The link's text."),
    optional("maxsize", R_COUNT, "", "Most bytes; more fails the step."),
];

static FILE_EXISTS: Spec = step(
    "steps.FileExists",
    library("steps/files.star", "file_exists"),
    0,
    &[&[required("file", R_TEXT, "A path below the builder's folder.")], COMMON],
    "Succeeds if a file is there.",
    "steps.FileExists(file = \"build/report.xml\")",
);

static MAKE_DIRECTORY: Spec = step(
    "steps.MakeDirectory",
    library("steps/files.star", "make_directory"),
    0,
    &[&[required("dir", R_TEXT, "A path below the builder's folder.")], COMMON],
    "Makes a folder, and those that it is in.",
    "steps.MakeDirectory(dir = \"build/out\")",
);

static REMOVE_DIRECTORY: Spec = step(
    "steps.RemoveDirectory",
    library("steps/files.star", "remove_directory"),
    0,
    &[&[required("dir", R_TEXT, "A path below the builder's folder.")], COMMON],
    "Removes a folder with all that is in it; a missing one is fine.",
    "steps.RemoveDirectory(dir = \"build/out\")",
);

static COPY_DIRECTORY: Spec = step(
    "steps.CopyDirectory",
    library("steps/files.star", "copy_directory"),
    0,
    &[
        &[
            required("src", R_TEXT, "A path below the builder's folder."),
            required("dest", R_TEXT, "A path below the builder's folder."),
            optional("timeout", R_SECONDS, "", "No effect: copying is watched by the build alone."),
            optional("maxTime", R_SECONDS, "", "No effect: copying is watched by the build alone."),
        ],
        COMMON,
    ],
    "Copies a folder.",
    "steps.CopyDirectory(src = \"build/data\", dest = \"data\")",
);

static REMOVE_PYCS: Spec = step(
    "steps.RemovePYCs",
    library("steps/files.star", "remove_pycs"),
    0,
    &[&[WORKDIR], COMMON],
    "Removes all `*.pyc` files below the work folder.",
    "steps.RemovePYCs()",
);

static STRING_DOWNLOAD: Spec = step(
    "steps.StringDownload",
    library("steps/transfer.star", "string_download"),
    1,
    &[
        &[
            required("s", R_TEXT, "The text."),
            required("workerdest", R_TEXT, "The file on the worker, below the work folder."),
            optional("mode", R_COUNT, "", "Permissions, such as 0o644."),
            WORKDIR,
        ],
        COMMON,
    ],
    "Writes a text to a file on the worker.",
    "steps.StringDownload(\"hello\", workerdest = \"hello.txt\")",
);

static JSON_STRING_DOWNLOAD: Spec = step(
    "steps.JSONStringDownload",
    library("steps/transfer.star", "json_string_download"),
    1,
    &[
        &[
            required("o", R_VALUE, "The value."),
            required("workerdest", R_TEXT, "The file on the worker, below the work folder."),
            optional("mode", R_COUNT, "", "Permissions."),
            WORKDIR,
        ],
        COMMON,
    ],
    "Writes a value as JSON to a file on the worker.",
    "steps.JSONStringDownload({\"a\": 1}, workerdest = \"a.json\")",
);

static JSON_PROPERTIES_DOWNLOAD: Spec = step(
    "steps.JSONPropertiesDownload",
    library("steps/transfer.star", "json_properties_download"),
    0,
    &[
        &[
            required("workerdest", R_TEXT, "The file on the worker, below the work folder."),
            optional("mode", R_COUNT, "", "Permissions."),
            WORKDIR,
        ],
        COMMON,
    ],
    "Writes the build's properties and source stamps as JSON to a file on the worker.",
    "steps.JSONPropertiesDownload(workerdest = \"build-properties.json\")",
);

static FILE_DOWNLOAD: Spec = step(
    "steps.FileDownload",
    library("steps/transfer.star", "file_download"),
    0,
    &[
        &[
            required("mastersrc", R_TEXT, "The file in the masters' store."),
            required("workerdest", R_TEXT, "The file on the worker, below the work folder."),
            optional("mode", R_COUNT, "", "Permissions."),
            WORKDIR,
        ],
        URL,
        COMMON,
    ],
    "Brings a file of the masters' store to the worker.",
    "steps.FileDownload(mastersrc = \"data.tar\", workerdest = \"data.tar\")",
);

static FILE_UPLOAD: Spec = step(
    "steps.FileUpload",
    library("steps/transfer.star", "file_upload"),
    0,
    &[
        &[
            required("workersrc", R_TEXT, "The file on the worker, below the work folder."),
            required("masterdest", R_TEXT, "Its name in the masters' store."),
            optional("mode", R_COUNT, "", "Permissions."),
            optional("keepstamp", R_BOOL, "False", "Keeps its time."),
            WORKDIR,
        ],
        URL,
        COMMON,
    ],
    "Brings a file of the worker to the masters' store.",
    "steps.FileUpload(workersrc = \"dist/a.tar\", masterdest = \"a.tar\")",
);

static DIRECTORY_UPLOAD: Spec = step(
    "steps.DirectoryUpload",
    library("steps/transfer.star", "directory_upload"),
    0,
    &[
        &[
            required("workersrc", R_TEXT, "The folder on the worker, below the work folder."),
            required("masterdest", R_TEXT, "Its name in the masters' store."),
            optional("compress", R_OPTIONAL_TEXT, "", "`\"gz\"` or `\"bz2\"` on the way."),
            WORKDIR,
        ],
        URL,
        COMMON,
    ],
    "Brings a folder of the worker to the masters' store.",
    "steps.DirectoryUpload(workersrc = \"html\", masterdest = \"html\")",
);

static MULTIPLE_FILE_UPLOAD: Spec = step(
    "steps.MultipleFileUpload",
    library("steps/transfer.star", "multiple_file_upload"),
    0,
    &[
        &[
            required("workersrcs", R_VALUE, "List of files and folders on the worker."),
            required("masterdest", R_TEXT, "A folder in the masters' store."),
            optional("glob", R_BOOL, "False", "The sources are patterns."),
            optional("mode", R_COUNT, "", "Permissions."),
            optional("keepstamp", R_BOOL, "False", "Keeps their times."),
            WORKDIR,
        ],
        URL,
        COMMON,
    ],
    "Brings several files of the worker to the masters' store.",
    "steps.MultipleFileUpload(workersrcs = [\"*.tar\"], masterdest = \"dist\", glob = True)",
);

pub(super) const SPECS: &[&Spec] = &[
    &FILE_EXISTS,
    &MAKE_DIRECTORY,
    &REMOVE_DIRECTORY,
    &COPY_DIRECTORY,
    &REMOVE_PYCS,
    &STRING_DOWNLOAD,
    &JSON_STRING_DOWNLOAD,
    &JSON_PROPERTIES_DOWNLOAD,
    &FILE_DOWNLOAD,
    &FILE_UPLOAD,
    &DIRECTORY_UPLOAD,
    &MULTIPLE_FILE_UPLOAD,
];
