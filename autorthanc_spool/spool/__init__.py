"""The spool on disk: its directories, the ledger, the audit log."""
