"""The only speaker of HTTP: questions to Orthanc, and what its answers mean."""
