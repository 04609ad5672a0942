"""Named pipelines. A preset's text may name passes and other presets."""

from __future__ import annotations

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
