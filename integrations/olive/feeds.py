"""Data of Olive as feeds: a dict of arrays for each batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from olive.common.config_utils import validate_config
from olive.common.utils import format_data
from olive.data.config import DataConfig

from ...ir.core.errors import FeedError
from ...ir.run.feeds import Feed

_WITH_LABEL = 2  # what a batch has then: inputs, and what is right


class DataFeeds:
    """The batches of a data configuration; any number of loops may read them.

    `labels`: the entry of the feeds that what is right goes to, the first of several.
    """

    def __init__(self, config: Any, io_config: dict[str, Any], labels: Sequence[str] = ()) -> None:
        self._container = validate_config(config, DataConfig).to_data_container()
        self._io_config = io_config
        self._labels = labels

    def __iter__(self) -> Iterator[Feed]:
        for batch in self._container.create_dataloader():
            labelled = isinstance(batch, tuple | list) and len(batch) == _WITH_LABEL
            inputs, label = batch if labelled else (batch, None)
            try:
                feed: Feed = format_data(inputs, self._io_config)
            except (KeyError, ValueError) as error:
                raise FeedError(
                    f"a batch of data_config does not fit the inputs of the model: {error}; give "
                    f"{', '.join(self._io_config['input_names'])}"
                ) from error
            if self._labels and label is not None:
                feed[self._labels[0]] = np.asarray(label)
            yield feed
