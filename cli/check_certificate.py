"""`planish check-certificate`: whether a certificate is of two models, and holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..ir.core.errors import CertificateError
from ..ir.proof.certificate import Certificate
from ..ir.proof.check import check_certificate as check
from .exit_codes import DIFFERENCE, VERIFICATION_FAILED
from .files import load
from .options import JsonOption, ModelFile
from .show.certificates import certificate_table, open_lines
from .show.console import err, out, print_json, print_plain
from .show.printable import as_message
from .supervise import doing


def check_certificate(
    before: ModelFile,
    after: ModelFile,
    certificate: Annotated[
        Path, typer.Argument(help="What --prove wrote beside AFTER.", show_default=False)
    ],
    as_json: JsonOption = False,
) -> None:
    """Prove again, from two models alone, what a certificate says of them.

    Exit with 1 where it does not hold, and with 3 where it leaves something unproved.
    """
    found = Certificate.load(certificate)
    graphs = load(before), load(after)
    doing(f"check '{certificate}'")
    refused = ""
    try:
        found = check(*graphs, found)
    except CertificateError as error:
        refused = str(error)
    if as_json:
        print_json(
            {
                "holds": not refused,
                "complete": not refused and found.is_complete,
                "refused": refused,
                "shown": "" if refused else found.shown(),
                "open_outputs": [each.name for each in found.open_outputs],
                "verdict": found.verdict(),
            }
        )
    elif refused:
        err.print(f"refused: {as_message(refused)}", style="red", highlight=False, markup=False)
    else:
        out.print(certificate_table(found))
        print_plain(f"the certificate holds: {found.shown()}")
        for line in open_lines(found):
            print_plain(as_message(line))
        print_plain(f"by the run's own word of its edits: {found.verdict()}")
    if refused:
        raise typer.Exit(DIFFERENCE)
    if not found.is_complete:
        raise typer.Exit(VERIFICATION_FAILED)
