"""Rules of the source tree: who may import whom, and what no file may contain."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import postsense
from other_systems import POSIX_MODULES, POSIX_NAMES

PACKAGE = Path(postsense.__file__).parent
MODULES = sorted(file for file in PACKAGE.rglob("*.py"))
FLOW = [
    "escaping",
    "errors",
    "files",
    "disk_space",
    "telemetry",
    "extras",
    "atomic",
    "mapped",
    "json_files",
    "locking",
    "progress",
    "processes",
    "config",
    "config_loading",
    "local_settings",
    "posts",
    "data",
    "encoders",
    "corpus",
    "retrieval",
    "batches",
    "outputs",
    "parallel",
    "fusion",
    "losses",
    "model",
    "inputs",
    "build",
    "inference",
    "classifier",
    "evaluation",
    "prediction",
    "training",
    "model_files",
    "model_description",
    "model_places",
    "model_own_encoders",
    "model_weights",
    "model_seen",
    "model_folder",
    "tables",
    "run_folder",
    "fitting",
    "runs",
    "results",
    "ablation",
    "discovery",
    "given_posts",
    "estimator",
    "terminal",
    "corpus_cli",
    "tasks_cli",
    "discover_cli",
    "demo",
    "cli",
    "__main__",
]
HAS_FALLBACKS = ("atomic", "processes")  # tests/test_other_systems.py takes the names away
OTHER_OPENS = ("os.open", "Image.open", "self._open")
BANNED_NAMES = {"utils", "util", "helpers", "common", "misc", "base", "core", "manager"}


def name_of(module: Path) -> str:
    return str(module.relative_to(PACKAGE))


def stage_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def stages_imported(module: Path) -> Iterator[str]:
    """The top-level names of postsense that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("postsense."):
            yield str(node.module).split(".")[1]
        elif isinstance(node, ast.ImportFrom) and node.module == "postsense":
            yield from (alias.name for alias in node.names if alias.name in FLOW)
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            yield from (name[1] for name in names if name[0] == "postsense" and len(name) > 1)


def attributes(module: Path) -> Iterator[tuple[str, str]]:
    """`os.fork` as ("os", "fork"), and likewise `from os import fork`."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id, node.attr
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


def imports(module: Path) -> Iterator[str]:
    """The top-level names of all that a module imports."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).split(".")[0]


def calls(module: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


modules = pytest.mark.parametrize("module", MODULES, ids=name_of)


@modules
def test_a_module_imports_only_from_earlier_stages(module: Path) -> None:
    if stage_of(module) in ("__init__", "presets"):
        return
    place = FLOW.index(stage_of(module))
    late = sorted({stage for stage in stages_imported(module) if FLOW.index(stage) > place})
    assert not late, f"{name_of(module)} imports the later stages {late}"


def test_every_stage_has_a_place_in_the_flow() -> None:
    assert sorted(FLOW) == sorted(
        {stage_of(module) for module in MODULES} - {"__init__", "presets"}
    )


@modules
def test_a_module_says_in_its_first_line_what_it_is_for(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    assert not text.strip() or ast.get_docstring(ast.parse(text))


@modules
def test_a_module_is_named_after_what_is_in_it(module: Path) -> None:
    assert not BANNED_NAMES & set(Path(name_of(module)).with_suffix("").parts)


@modules
def test_only_the_command_line_and_the_terminal_print(module: Path) -> None:
    if stage_of(module) not in ("cli", "corpus_cli", "terminal"):
        assert "print" not in [name for name, _ in calls(module)]


@modules
def test_what_other_systems_lack_is_asked_for_where_it_has_a_fallback(module: Path) -> None:
    lacking = {
        f"{owner}.{name}"
        for owner, name in attributes(module)
        if name in POSIX_NAMES.get(owner, ())
    }
    assert not lacking or stage_of(module) in HAS_FALLBACKS, sorted(lacking)
    assert not set(imports(module)) & set(POSIX_MODULES.split())


@modules
def test_text_is_written_and_read_in_a_named_encoding(module: Path) -> None:
    """Else it is that of the machine, which on Windows has no emojis."""
    for name, call in calls(module):
        verb, given = name.split(".")[-1], {keyword.arg for keyword in call.keywords}
        if verb not in ("open", "read_text", "write_text"):
            continue
        words = [word.value for word in call.args if isinstance(word, ast.Constant)]
        modes = [word for word in words if isinstance(word, str) and set(word) <= set("rwabx+")]
        if verb == "open" and (name in OTHER_OPENS or any("b" in mode for mode in modes)):
            continue
        assert "encoding" in given or "utf-8" in words, f"{name_of(module)}:{call.lineno}"


@modules
def test_nothing_is_pickled(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    imported = [
        ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)
    ]
    assert not [line for line in imported if "pickle" in line or "joblib" in line]
    for name, call in calls(module):
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert name != "torch.save"
        assert name != "torch.load" or options.get("weights_only") == "True"
        assert name != "np.load" or options.get("allow_pickle") == "False"


def test_what_is_printed_is_escaped_in_one_place() -> None:
    printing = {"typer.echo", "typer.secho", "print", "click.echo"}
    found = {name_of(module) for module in MODULES for name, _ in calls(module) if name in printing}
    assert found == {"terminal.py", "cli.py"}  # cli.py prints the error, escaped


@modules
def test_checkpoints_run_no_code_of_theirs_and_ask_no_hub(module: Path) -> None:
    for name, call in calls(module):
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name.endswith((".from_pretrained", ".from_config")):
            assert options.get("trust_remote_code") == "False"
        if name.endswith(".from_pretrained"):
            assert options.get("local_files_only") == "True"
