"""The command `corekit`: finds the command's module, runs it, turns errors into exit codes."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from corekit import __version__
from corekit.errors import CorekitError, SpecError, UsageError

# command: (module with add_arguments(parser) and run(args) -> exit code, one line of help)
COMMANDS = {
    "demo": ("corekit.cli.demo", "train a small model on shapes drawn here, and show what it made"),
    "plugins": ("corekit.cli.plugins", "list the installed plugins, and what is wrong with them"),
    "components": ("corekit.cli.components", "list what a spec can name"),
    "check-plugin": ("corekit.cli.check_plugin", "test everything that a package promises"),
    "new-plugin": ("corekit.cli.new_plugin", "write a package with one working component"),
    "show": ("corekit.cli.show", "describe one component: its fields, defaults and an example"),
    "validate": ("corekit.cli.validate", "check a spec without starting anything"),
    "resolve": ("corekit.cli.resolve", "print a spec with every default filled in"),
    "new-spec": ("corekit.cli.new_spec", "write a spec to start from"),
    "schema": ("corekit.cli.schema", "describe a spec to an editor, as JSON Schema"),
    "train": ("corekit.cli.train", "train a model from a spec, or go on from a checkpoint"),
    "sample": ("corekit.cli.sample", "draw samples from a trained model"),
    "reconstruct": ("corekit.cli.reconstruct", "encode and decode data with a trained model"),
    "interpolate": ("corekit.cli.interpolate", "walk between pairs of examples in latent space"),
    "manipulate": ("corekit.cli.manipulate", "change attributes of examples in latent space"),
    "evaluate": ("corekit.cli.evaluate", "measure a trained model on held-out data"),
    "data": ("corekit.cli.data", "look into data files, and convert them"),
    "inspect": ("corekit.cli.inspect", "look into a checkpoint"),
    "import": ("corekit.cli.import_", "turn a checkpoint of another code base into one of corekit"),
}

_EXIT_CODES = """\
exit codes:
  0 done   1 internal error   2 usage   3 spec   4 plugin   5 data   6 training diverged
  7 checkpoint   75 preempted after saving   130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    # Before torch is imported: threads that wait without spinning train as fast on an idle machine,
    # and three times as fast on a busy one.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            return _run(arguments)
    except SystemExit as exit_:  # argparse has said what it had to say
        return exit_.code if isinstance(exit_.code, int) else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `corekit components | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            import traceback

            traceback.print_exc()
        else:
            _report(error)
        return error.exit_code if isinstance(error, CorekitError) else 1


def _run(arguments: list[str]) -> int:
    parser = _Parser(
        prog="corekit",
        description="A plugin framework for deep generative models.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"corekit {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", parser_class=_Parser
    )
    used = next((word for word in arguments if not word.startswith("-")), None)
    if used is not None and used not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(used, COMMANDS, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"no command named {used!r}.{hint} Commands: {', '.join(COMMANDS)}.")
    for name, (module_name, summary) in COMMANDS.items():
        described = summary[0].upper() + summary[1:] + "."
        command = commands.add_parser(name, help=summary, description=described)
        if name == used:
            command.add_argument(
                "--debug",
                action="store_true",
                default=argparse.SUPPRESS,
                help="show the traceback of an error",
            )
            module = import_module(module_name)
            module.add_arguments(command)
            command.set_defaults(function=module.run)
    options = parser.parse_args(arguments)
    if used is None:
        parser.print_help()
        return 2
    code: int = options.function(options)
    sys.stdout.flush()  # a broken pipe shows here, where it is handled
    _leave()
    return code


def _leave() -> None:
    """Leave the processes of the launch while Python is whole.

    Threads of gloo that outlive the interpreter abort it, now and then, after all work is done.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _warn(message: Warning | str, *where: object, **more: object) -> None:
    """A warning in one line, without the place in the code that gave it."""
    print(f"warning: {message}", file=sys.stderr)


def _report(error: Exception) -> None:
    if getattr(error, "told", False):  # the main one of several processes tells it
        return
    if isinstance(error, SpecError):
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        if len(error.problems) > 1:
            print(f"{len(error.problems)} problems", file=sys.stderr)
    elif isinstance(error, CorekitError):
        print(f"error: {error}", file=sys.stderr)
    else:
        print(f"error: internal: {type(error).__name__}: {error}", file=sys.stderr)
        print("Run it again with --debug for the traceback.", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report like every other error, with the usage below."""
        print(f"error: {message}", file=sys.stderr)
        self.print_usage(sys.stderr)
        sys.exit(2)
