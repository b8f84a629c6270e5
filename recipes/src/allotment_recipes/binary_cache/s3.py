# SPDX-License-Identifier: Apache-2.0
"""A binary cache in an S3 bucket; obstore reads address and credentials from the usual AWS_ variables."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from allotment.codec import dumps
from allotment.errors import AllotmentError, UnreachableError
from allotment.messages.binary_cache import SignedPackedPart
from allotment_recipes.binary_cache.caches import keeps
from allotment_recipes.binary_cache.folder import PART

_CHUNK: Final = 1 << 20  # bytes
_LOOKUPS: Final = 8  # at the same time
_TIMES: Final = {"timeout": "20s", "connect_timeout": "5s"}


class S3Cache:
    """``s3://bucket/prefix``: the objects are named as the files of a folder."""

    def __init__(self, url: str, token: str = "") -> None:
        try:
            import obstore
            import obstore.store
        except ModuleNotFoundError:
            raise AllotmentError(f"{url} needs obstore", "Install allotment.recipes[s3]") from None
        self._obstore: Any = obstore
        self.name = self._url = url
        retry: Any = {"max_retries": 2}
        try:
            options: Any = {**_TIMES, "allow_http": True}
            self._store = obstore.store.from_url(url, client_options=options, retry_config=retry)
        except Exception as error:  # obstore's own kinds have no other common base
            raise AllotmentError(f"{url} can't be used: {error}", "Write it like s3://bucket/folder") from error

    def entries(self, parts: Sequence[str]) -> Mapping[str, bytes]:
        wanted = [part for part in parts if PART.fullmatch(part)]
        with ThreadPoolExecutor(_LOOKUPS) as pool:
            found = pool.map(lambda part: self._get(f"entries/{part}.json"), wanted)
            return {part: data for part, data in zip(wanted, found, strict=True) if data is not None}

    def names(self, after: str, limit: int) -> Sequence[str]:
        offset = f"entries/{after}.json" if after else None
        found: list[str] = []
        try:
            for page in self._obstore.list(self._store, "entries", offset=offset, chunk_size=limit):
                found += [item["path"].removeprefix("entries/").removesuffix(".json") for item in page]
                if len(found) >= limit:
                    break
        except Exception as error:
            raise self._away(error) from error
        return sorted(found)[:limit]

    def size(self, sha256: str) -> int | None:
        try:
            return int(self._obstore.head(self._store, _archive(sha256))["size"])
        except FileNotFoundError:  # the answer to HEAD has no body, which alone would tell a bucket that is missing
            return None
        except Exception as error:
            raise self._away(error) from error

    def read(self, sha256: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        options = {"range": {"offset": start} if end is None else (start, end)} if start or end is not None else {}
        try:
            answer = self._obstore.get(self._store, _archive(sha256), options=options)
            for chunk in answer.stream(min_chunk_size=_CHUNK):
                yield bytes(chunk)
        except FileNotFoundError as error:
            if _lacks_bucket(error):
                raise self._away(error) from error
            raise AllotmentError(
                f"{self._url}/{_archive(sha256)} is not there any more", "Push the part again"
            ) from error
        except Exception as error:
            raise self._away(error) from error

    def add(self, signed: SignedPackedPart, archive: Path, told: Callable[[int], None]) -> bool:
        blob = signed.packed.archive
        try:
            if self.size(blob.sha256) != blob.size:
                self._obstore.put(self._store, _archive(blob.sha256), archive)
            told(blob.size)
            name = f"entries/{signed.packed.part}.json"
            try:
                self._obstore.put(self._store, name, dumps(signed), mode="create")
            except self._obstore.exceptions.AlreadyExistsError:
                if keeps(self, signed.packed.part, self._get(name)):
                    return False
                self._obstore.put(self._store, name, dumps(signed))
        except AllotmentError:
            raise
        except Exception as error:
            raise self._away(error) from error
        return True

    def _get(self, name: str) -> bytes | None:
        try:
            return bytes(self._obstore.get(self._store, name).bytes())
        except FileNotFoundError as error:
            if _lacks_bucket(error):
                raise self._away(error) from error
            return None
        except Exception as error:
            raise self._away(error) from error

    def _away(self, error: Exception) -> UnreachableError:
        reason = str(error).strip().splitlines()
        return UnreachableError(f"{self._url}: {reason[0] if reason else type(error).__name__}", "Look at the bucket")


def _lacks_bucket(error: FileNotFoundError) -> bool:
    return "NoSuchBucket" in str(error)


def _archive(sha256: str) -> str:
    return f"archives/{sha256[:2]}/{sha256}"
