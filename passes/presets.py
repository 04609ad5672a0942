"""Named pipelines. A preset's text may name passes and other presets."""

from __future__ import annotations

# The word before a group of passes that runs until none of them edits.
REPEAT = "repeat"

PRESETS: dict[str, str] = {
    # Constants first: exporters hide weights behind shape arithmetic that later passes must see
    # through. Dead readers go before the passes that ask for a sole reader.
    "exact": (
        "fold-constants,eliminate-dead-code,eliminate-sequences,eliminate-identities,"
        "eliminate-common-subexpressions,fold-batchnorm,fuse-conv-activation,eliminate-dead-code"
    ),
    "cleanup": (
        "fold-constants,eliminate-dead-code,eliminate-sequences,eliminate-identities,"
        "eliminate-common-subexpressions,eliminate-dead-code"
    ),
}
