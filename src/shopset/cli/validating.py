"""shopctl validate."""

from shopset.cli import exits
from shopset.cli.printing import Output, Printer, complain
from shopset.cli.settings import Settings
from shopset.directory.fleets import read_fleet


def validate(settings: Settings, output: Output | None) -> int:
    """Read and cross-check a fleet, and say what is wrong with it."""
    reading = read_fleet(settings.fleet)
    printer = Printer(colour=settings.colour)
    if output in (Output.JSON, Output.YAML):
        found = [
            {
                "file": each.file,
                "line": each.span.line,
                "column": each.span.column,
                "field": each.field,
                "severity": each.severity,
                "message": each.message,
                "advice": each.advice,
            }
            for each in reading.diagnostics
        ]
        printer.data({"files": reading.files, "diagnostics": found}, output)
    else:
        for each in reading.diagnostics:
            complain(each.render())
        warnings = len(reading.diagnostics) - reading.errors
        summary = (
            f"{_count(reading.errors, 'error')}, {_count(warnings, 'warning')} in {_count(reading.files, 'file')}."
        )
        printer.line(f"{summary} Nothing was written." if reading.errors else summary)
    return exits.INVALID_FLEET if reading.errors else exits.OK


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
