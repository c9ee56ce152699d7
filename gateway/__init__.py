"""CBR Gateway: a gRPC service before Huawei Cloud's CBR (Cloud Backup and Recovery) REST API."""
