#include "credentials.h"

#include <fstream>
#include <iterator>
#include <stdexcept>

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

namespace cbrgateway {
namespace {

constexpr unsigned int kRefreshSeconds = 1;

void Refuse(bool wrong, const char* why) {
  if (wrong) {
    throw std::invalid_argument(why);
  }
}

void CheckPem(const std::string& name, const std::string& pem, const char* kind) {
  if (!pem.empty() && (pem.find("-----BEGIN ") == std::string::npos || pem.find(kind) == std::string::npos)) {
    throw std::invalid_argument(name + ": no " + kind + " in what was given; it must be PEM, not the name of a file");
  }
}

/// gRPC itself would try a file that is not there for ever, and say so in the log only.
void CheckFile(const std::string& name, const std::string& file, const char* kind) {
  std::ifstream content(file, std::ios::binary);
  if (!content) {
    throw std::invalid_argument(name + ": " + file + " cannot be read");
  }
  const std::string pem{std::istreambuf_iterator(content), {}};
  if (pem.find(kind) == std::string::npos) {
    throw std::invalid_argument(name + ": no " + kind + " in " + file + "; it must be PEM");
  }
}

bool HasFiles(const Options& options) { return !options.authorities_file.empty() || !options.certificate_file.empty() || !options.key_file.empty(); }

bool HasPem(const Options& options) { return !options.authorities.empty() || !options.certificate.empty() || !options.key.empty(); }

std::shared_ptr<grpc::ChannelCredentials> OfFiles(const Options& options) {
  const bool own = !options.certificate_file.empty();
  if (own) {
    CheckFile("certificate_file", options.certificate_file, "CERTIFICATE");
    CheckFile("key_file", options.key_file, "PRIVATE KEY");
  }
  grpc::experimental::TlsChannelCredentialsOptions tls;
  if (!options.authorities_file.empty()) {
    CheckFile("authorities_file", options.authorities_file, "CERTIFICATE");
    tls.watch_root_certs();
  }
  if (own) {
    tls.watch_identity_key_cert_pairs();
  }
  tls.set_certificate_provider(std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(options.key_file, options.certificate_file,
                                                                                                   options.authorities_file, kRefreshSeconds));
  return grpc::experimental::TlsCredentials(tls);
}

}  // namespace

std::shared_ptr<grpc::ChannelCredentials> CredentialsOf(const Options& options) {
  const bool pem = HasPem(options);
  const bool files = HasFiles(options);
  Refuse(options.plaintext && (pem || files || options.credentials), "plaintext and authorities, certificates or credentials: give one of them");
  Refuse(options.credentials && (pem || files), "credentials and authorities or certificates: give one of them");
  Refuse(pem && files, "authorities, certificate and key: give all from memory, or all as files");
  Refuse(options.certificate.empty() != options.key.empty(), "certificate and key: give both, or neither");
  Refuse(options.certificate_file.empty() != options.key_file.empty(), "certificate_file and key_file: give both, or neither");
  CheckPem("authorities", options.authorities, "CERTIFICATE");
  CheckPem("certificate", options.certificate, "CERTIFICATE");
  CheckPem("key", options.key, "PRIVATE KEY");
  if (options.credentials) {
    return options.credentials;
  }
  if (options.plaintext) {
    return grpc::InsecureChannelCredentials();
  }
  return files ? OfFiles(options) : grpc::SslCredentials({options.authorities, options.key, options.certificate});
}

}  // namespace cbrgateway
