# frozen_string_literal: true

Gem::Specification.new do |spec|
  spec.name = "cbrgateway"
  spec.version = "0.1.0"
  spec.summary = "Client of CBR Gateway: Huawei Cloud Backup and Recovery over gRPC"
  spec.authors = ["CBR Gateway"]
  spec.homepage = "https://github.com/cbrgateway"
  spec.license = "Nonstandard"
  spec.files = Dir["lib/**/*", "sig/**/*", "README.md", "CHANGELOG.md"]
  spec.required_ruby_version = ">= 3.1"
  spec.add_dependency "google-protobuf", "~> 3.21"
  spec.add_dependency "googleapis-common-protos-types", "~> 1.4"
  spec.add_dependency "grpc", "~> 1.51"
end
