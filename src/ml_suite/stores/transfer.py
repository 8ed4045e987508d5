"""Move whole stores between a folder and S3, verified, resumable, safe to repeat."""

from ml_suite.stores.download import download_store
from ml_suite.stores.streams import TransferSummary
from ml_suite.stores.upload import Verify, upload_store

__all__ = ["TransferSummary", "Verify", "download_store", "upload_store"]
