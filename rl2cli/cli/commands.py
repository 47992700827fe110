"""The table of commands; imports none of them."""

from __future__ import annotations

from typing import NamedTuple

TRAINING = "Training"
BEFORE = "Before a run"
AFTER = "After a run"
OWN = "Parts of your own"
GROUPS = ("register", "new")
"""Words that the next one completes: `rl2 register list` is the command `register-list`."""


class Command(NamedTuple):
    """One word after `rl2`."""

    name: str
    target: str
    """`"module:function"`; the function's parameters are the command's."""
    section: str
    summary: str
    """One line for `rl2 --help`."""
    examples: tuple[str, ...] = ()
    """Command lines for its own help."""
    plain: tuple[int, ...] = ()
    """Numbers of words, none of them an option, with which `plain_target` is called without Typer's start-up."""
    plain_target: str = ""
    """`"module:function"`; takes the words, and the whole line as `command` where it has such a parameter."""
    listed: bool = True
    """Whether `rl2 --help` shows it; where not, that of its group is."""

    @property
    def typed(self) -> str:
        """The command as it is typed after `rl2`: `register list`, but `register-adapter`."""
        group, _, rest = self.name.partition("-")
        return f"{group} {rest}" if group in GROUPS and rest and not self.listed else self.name


_TRAIN_EXAMPLES = (
    "rl2 train runs/cartpole.toml",
    "rl2 train runs/cartpole.toml --seed 2 --set algorithm.learning_rate=3e-4",
    "rl2 train my.toml --dry-run",
    "rl2 train my.toml --json > result.json",
    "rl2 train my.toml --run-dir runs/mine --resume",
)

_INFER_EXAMPLES = (
    "rl2 infer",
    "rl2 infer outputs/cartpole --episodes 100 --checkpoint last --json",
    "rl2 infer --mode watch --view terminal",
    "rl2 infer --record-video --grid 2x2",
)

COMMANDS = {
    command.name: command
    for command in (
        Command(
            "train",
            "rl2cli.cli.train:train",
            TRAINING,
            "Train what a run spec says; leaves a run folder",
            examples=_TRAIN_EXAMPLES,
            plain=(1,),
            plain_target="rl2cli.cli.start:start",
        ),
        Command(
            "resume",
            "rl2cli.cli.resume:resume",
            TRAINING,
            "Go on with a run from its newest valid checkpoint",
        ),
        Command(
            "infer",
            "rl2cli.cli.infer:infer",
            AFTER,
            "Run a trained policy: measure it, watch it, record videos",
            examples=_INFER_EXAMPLES,
        ),
        Command("export", "rl2cli.cli.export:export", AFTER, "Write a trained policy to an ONNX or PyTorch file"),
        Command(
            "init",
            "rl2cli.cli.init:init",
            BEFORE,
            "Write a commented run spec to begin with",
            examples=("rl2 init", "rl2 init ppo", "rl2 init pong my-pong.toml"),
            plain=(0, 1, 2),
            plain_target="rl2cli.cli.init:init",
        ),
        Command(
            "show",
            "rl2cli.cli.show:show",
            BEFORE,
            "Show a run, every setting of a spec, or a plugin's options",
            plain=(0, 1),
            plain_target="rl2cli.cli.show:show",
        ),
        Command(
            "list",
            "rl2cli.cli.list:list_names",
            BEFORE,
            "List algorithms, networks, adapters, environments, runs",
            plain=(0, 1, 2),
            plain_target="rl2cli.cli.list:list_names",
        ),
        Command(
            "explain",
            "rl2cli.cli.explain:explain",
            BEFORE,
            "Say what one setting does, such as algorithm.gamma",
            plain=(1,),
            plain_target="rl2cli.cli.explain:explain",
        ),
        Command(
            "validate",
            "rl2cli.cli.validate:validate",
            BEFORE,
            "Check run specs and report every problem at once",
            plain=tuple(range(1, 100)),
            plain_target="rl2cli.cli.validate:validate_plainly",
        ),
        Command(
            "schema",
            "rl2cli.cli.schema:schema",
            BEFORE,
            "Print the JSON schema of a run spec, for editors",
            plain=(0,),
            plain_target="rl2cli.cli.schema:schema",
        ),
        Command("doctor", "rl2cli.cli.doctor:doctor", BEFORE, "Report what this machine has, or check a run"),
        Command("report", "rl2cli.cli.report:report", AFTER, "Write a run as one HTML page: curves, machine, videos"),
        Command("compare", "rl2cli.cli.compare:compare", AFTER, "Compare runs in a table and a picture of curves"),
        *(
            Command(
                f"new-{kind}",
                f"rl2cli.cli.new:new_{kind}",
                OWN,
                f"Write {article} {kind} that works, and its test, to begin with",
                examples=(f"rl2 new {kind} my_{word}",),
                listed=False,
            )
            for kind, article, word in (
                ("adapter", "an", "sim"),
                ("network", "a", "network"),
                ("algorithm", "an", "pg"),
            )
        ),
        Command("new", "rl2cli.cli.new:new", OWN, "Write an adapter, a network or an algorithm to begin with"),
        *(
            Command(
                f"register-{kind}",
                f"rl2cli.cli.register:register_{kind}",
                OWN,
                f"Keep the name of {what} of yours",
                examples=(f"rl2 register-{kind} my_{word} my_{word}:My{word.capitalize()}",),
            )
            for kind, what, word in (
                ("adapter", "an environment backend", "sim"),
                ("network", "a network", "network"),
                ("algorithm", "an algorithm", "pg"),
            )
        ),
        Command("register-module", "rl2cli.cli.register:register_module", OWN, "Let specs name a module", listed=False),
        Command(
            "register-list",
            "rl2cli.cli.registered:list_registered",
            OWN,
            "List registered names",
            plain=(0,),
            plain_target="rl2cli.cli.registered:list_registered",
            listed=False,
        ),
        Command("register-remove", "rl2cli.cli.registered:remove", OWN, "Forget a registered name", listed=False),
        Command(
            "register-trust", "rl2cli.cli.registered:trust_project", OWN, "Rely on a project's rl2.toml", listed=False
        ),
        Command(
            "register", "rl2cli.cli.registered:register", OWN, "register list, remove, module, trust: see what is kept"
        ),
        Command(
            "check-env",
            "rl2cli.cli.check_env:check_env",
            OWN,
            "Check an environment against the contract, before training",
            examples=("rl2 check-env gymnasium:CartPole-v1", "rl2 check-env runs/pong.toml", "rl2 check-env my_sim"),
        ),
        Command("bench", "rl2cli.cli.bench:bench", AFTER, "Measure rl2 against other libraries on this machine"),
    )
}
"""Name → command, in the order of `rl2 --help`."""


def overview() -> str:
    """Return the text of `rl2 --help`."""
    width = max(len(command.name) for command in COMMANDS.values() if command.listed)
    lines = ["Usage: rl2 COMMAND [ARGUMENTS]", "", "Reinforcement learning from one TOML file and one command."]
    for section in (TRAINING, BEFORE, AFTER, OWN):
        lines += ["", f"{section}:"]
        found = [command for command in COMMANDS.values() if command.section == section and command.listed]
        lines += [f"  {command.name:<{width}}  {command.summary}" for command in found]
    return "\n".join([*lines, "", *_CLOSING])


_CLOSING = (
    "Options:",
    "  -h, --help            Show this; `rl2 COMMAND --help` has a command's own",
    "  --version             Print the version",
    "  --debug               With any command: show a traceback with every error",
    "  --install-completion  Make this shell complete rl2's commands and options",
    "",
    "Examples:",
    "  rl2 train runs/cartpole.toml",
    "  rl2 infer",
)
