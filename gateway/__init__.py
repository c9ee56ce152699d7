"""CBR Gateway: a gRPC service in front of the Huawei Cloud CBR (Cloud Backup and Recovery) REST
API.
"""
