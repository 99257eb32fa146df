"""Rules of the source tree: who may import whom, and what no file may contain."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import postsense
from other_systems import POSIX_MODULES, POSIX_NAMES
from postsense.registry import FUSIONS, METHODS, load_object

PACKAGE = Path(postsense.__file__).parent
MODULES = sorted(file for file in PACKAGE.rglob("*.py"))
FLOW = [
    "arrays",
    "escaping",
    "errors",
    "registry",
    "telemetry",
    "extras",
    "progress",
    "files",
    "config",
    "parallel",
    "posts",
    "data",
    "encoders",
    "corpus",
    "retrieval",
    "inputs",
    "fusion",
    "model",
    "losses",
    "prediction",
    "evaluation",
    "training",
    "saving",
    "runs",
    "discovery",
    "predictor",
    "estimator",
    "commands",
    "__main__",
]
OUTSIDE_THE_FLOW = {"__init__", "presets"}
HAS_FALLBACKS = (
    "files/atomic.py",
    "parallel/processes.py",
)  # tests/test_other_systems.py takes the names away
OTHER_OPENS = ("os.open", "Image.open", "self._open")
BANNED_NAMES = {"utils", "util", "helpers", "common", "misc", "base", "core", "manager"}


def name_of(module: Path) -> str:
    return str(module.relative_to(PACKAGE))


def stage_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def tree_of(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"))


@cache
def nodes_of(module: Path) -> list[ast.AST]:
    return list(ast.walk(tree_of(module)))


def stages_imported(module: Path) -> Iterator[str]:
    """The top-level names of postsense that a module imports, wherever in it."""
    for node in nodes_of(module):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("postsense."):
            yield str(node.module).split(".")[1]
        elif isinstance(node, ast.ImportFrom) and node.module == "postsense":
            yield from (alias.name for alias in node.names if alias.name in FLOW)
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            yield from (name[1] for name in names if name[0] == "postsense" and len(name) > 1)


def attributes(module: Path) -> Iterator[tuple[str, str]]:
    """`os.fork` as ("os", "fork"), and likewise `from os import fork`."""
    for node in nodes_of(module):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id, node.attr
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


def imports(module: Path) -> Iterator[str]:
    """The top-level names of all that a module imports."""
    for node in nodes_of(module):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).split(".")[0]


@cache
def calls(module: Path) -> list[tuple[str, ast.Call]]:
    return [
        (ast.unparse(node.func), node) for node in nodes_of(module) if isinstance(node, ast.Call)
    ]


def all_calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Where each call of the package is made, what it calls, and the call."""
    for module in MODULES:
        for name, call in calls(module):
            yield f"{name_of(module)}:{call.lineno}", name, call


def options_of(call: ast.Call) -> dict[str | None, str]:
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}


def assert_none(offenders: list[str], rule: str) -> None:
    """Fail with every place at once that breaks a rule."""
    assert not offenders, "\n  ".join([f"{rule}. Not so:", *offenders])


def test_a_module_imports_only_from_earlier_stages() -> None:
    place = {stage: number for number, stage in enumerate(FLOW)}
    assert_none(
        [
            f"{name_of(module)} imports {stage}"
            for module in MODULES
            if stage_of(module) not in OUTSIDE_THE_FLOW
            for stage in sorted(set(stages_imported(module)))
            if place[stage] > place[stage_of(module)]
        ],
        "A module imports from its own stage and from those before it in FLOW",
    )


def test_every_stage_has_a_place_in_the_flow() -> None:
    assert sorted(FLOW) == sorted({stage_of(module) for module in MODULES} - OUTSIDE_THE_FLOW)


def test_a_module_says_in_its_first_line_what_it_is_for() -> None:
    silent = [m for m in MODULES if m.stat().st_size and not ast.get_docstring(tree_of(m))]
    assert_none([name_of(module) for module in silent], "A module begins with a docstring")


def test_a_module_is_named_after_what_is_in_it() -> None:
    names = [name_of(module) for module in MODULES]
    vague = [name for name in names if BANNED_NAMES & set(Path(name).with_suffix("").parts)]
    assert_none(vague, "A name says what is inside")


def test_only_the_command_line_and_the_terminal_print() -> None:
    may = {"commands"}
    printing = [m for m in MODULES if "print" in [name for name, _ in calls(m)]]
    assert_none([name_of(m) for m in printing if stage_of(m) not in may], f"Only {may} print")


def test_what_other_systems_lack_is_asked_for_where_it_has_a_fallback() -> None:
    modules = set(POSIX_MODULES.split())
    names = [
        f"{name_of(module)} asks for {owner}.{name}"
        for module in MODULES
        if name_of(module) not in HAS_FALLBACKS
        for owner, name in attributes(module)
        if name in POSIX_NAMES.get(owner, ())
    ]
    imported = [
        f"{name_of(module)} imports {name}"
        for module in MODULES
        for name in sorted(modules & set(imports(module)))
    ]
    assert_none(names + imported, f"What POSIX alone has is asked for in {HAS_FALLBACKS}")


def is_text_in_no_encoding(name: str, call: ast.Call) -> bool:
    verb, given = name.split(".")[-1], {keyword.arg for keyword in call.keywords}
    if verb not in ("open", "read_text", "write_text"):
        return False
    words = [word.value for word in call.args if isinstance(word, ast.Constant)]
    modes = [word for word in words if isinstance(word, str) and set(word) <= set("rwabx+")]
    if verb == "open" and (name in OTHER_OPENS or any("b" in mode for mode in modes)):
        return False
    return "encoding" not in given and "utf-8" not in words


def test_text_is_written_and_read_in_a_named_encoding() -> None:
    """Else it is that of the machine, which on Windows has no emojis."""
    unnamed = [place for place, name, call in all_calls() if is_text_in_no_encoding(name, call)]
    assert_none(unnamed, "Text is written and read with encoding=")


def is_pickling(name: str, call: ast.Call) -> bool:
    options = options_of(call)
    return (
        name == "torch.save"
        or (name == "torch.load" and options.get("weights_only") != "True")
        or (name == "np.load" and options.get("allow_pickle") != "False")
    )


def test_nothing_is_pickled() -> None:
    lines = [
        (name_of(module), ast.unparse(node))
        for module in MODULES
        for node in nodes_of(module)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    imported = [f"{name}: {line}" for name, line in lines if "pickle" in line or "joblib" in line]
    called = [f"{place}: {name}" for place, name, call in all_calls() if is_pickling(name, call)]
    assert_none(imported + called, "Nothing is written or read that runs code when it is read")


def test_what_is_printed_is_escaped_in_one_place() -> None:
    printing = {"typer.echo", "typer.secho", "print", "click.echo"}
    found = {place.split(":")[0] for place, name, _ in all_calls() if name in printing}
    assert found == {"commands/terminal.py", "commands/main.py"}  # main prints the error, escaped


def may_run_code_or_ask_a_hub(name: str, call: ast.Call) -> bool:
    options = options_of(call)
    if not name.endswith((".from_pretrained", ".from_config")):
        return False
    runs_code = options.get("trust_remote_code") != "False"
    asks = name.endswith(".from_pretrained") and options.get("local_files_only") != "True"
    return runs_code or asks


def test_checkpoints_run_no_code_of_theirs_and_ask_no_hub() -> None:
    loose = [
        f"{place}: {name}"
        for place, name, call in all_calls()
        if may_run_code_or_ask_a_hub(name, call)
    ]
    assert_none(loose, "Checkpoints get trust_remote_code=False and local_files_only=True")


def test_a_fusion_a_loss_and_a_method_are_asked_what_they_are() -> None:
    """Else another one would need a line in every place that knows them by name or by class."""
    known = {*FUSIONS, *METHODS} - {"supervised", "concat"}
    compared = [
        f"{name_of(module)}:{node.lineno} compares with {ast.unparse(part)}"
        for module in MODULES
        if stage_of(module) not in ("registry", "discovery", "encoders")  # types of checkpoints
        for node in nodes_of(module)
        if isinstance(node, ast.Compare)
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and part.value in known
    ]
    classes = {
        load_object(fusion.build).__annotations__["return"].strip("\"'")
        for fusion in FUSIONS.values()
    }
    asked = [
        f"{place} asks for {found}"
        for place, name, call in all_calls()
        if name == "isinstance"
        for found in sorted(classes & set(re.findall(r"\w+", ast.unparse(call.args[1]))))
    ]
    assert_none(
        compared + asked, "What a fusion or a method is, its entry in postsense.registry says"
    )


def test_the_tables_of_what_there_is_need_no_torch() -> None:
    code = "import sys, postsense.config, postsense.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
