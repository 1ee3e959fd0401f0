"""The models' tokenizers, by the `tokenizers` library alone, so that the front end needs no PyTorch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from tokenizers import Tokenizer

from store.blobs.blob_store import BlobStore

_MOST_KEPT: Final = 8


class TokenizerCache:
    """Tokenizers by the hash of their blob (tokenizer.json); the ones last used stay loaded."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, Tokenizer] = OrderedDict()

    def get(self, blob: str) -> Tokenizer:
        """Raises BlobError where the blob is missing or damaged."""
        with self._lock:
            tokenizer = self._loaded.get(blob)
            if tokenizer is None:
                tokenizer = Tokenizer.from_str(self._blobs.get(blob).decode())
                # Some tokenizer files carry settings of their training: they would cut or pad what people send.
                tokenizer.no_truncation()
                tokenizer.no_padding()
                self._loaded[blob] = tokenizer
            self._loaded.move_to_end(blob)
            while len(self._loaded) > _MOST_KEPT:
                self._loaded.popitem(last=False)
            return tokenizer
