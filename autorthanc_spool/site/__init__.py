"""A site: laying it out, looking whether it can start, starting Orthanc and the processor, with Docker and without."""
