"""A filesystem-spool batch processor between Orthanc and a pipeline that watches a folder."""

__version__ = "0.1.0"
