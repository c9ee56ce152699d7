#include "peer.h"

#include <memory>

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

namespace cbrgateway {
namespace {

constexpr int kTimeoutSeconds = 3;
constexpr int kNapMilliseconds = 20;

template <auto Free>
struct Freed {
  template <class Object>
  void operator()(Object* object) const {
    Free(object);
  }
};
using Context = std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>>;
using Connection = std::unique_ptr<BIO, Freed<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;

}  // namespace

bool HasExpiredCertificate(const std::string& address) {
  const std::string target = address.substr(address.rfind('/') + 1);  // Without the scheme of a resolver.
  const Context context(SSL_CTX_new(TLS_client_method()));
  if (!context) {
    return false;
  }
  // Nothing is sent but the handshake, so that nothing needs to be verified.
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  const Connection connection(BIO_new_ssl_connect(context.get()));
  SSL* tls = nullptr;
  if (!connection || BIO_get_ssl(connection.get(), &tls) <= 0) {
    return false;
  }
  std::string host = target.substr(0, target.rfind(':'));
  SSL_ctrl(tls, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, host.data());  // What a macro does with a cast of old.
  BIO_set_conn_hostname(connection.get(), target.c_str());
  if (BIO_do_connect_retry(connection.get(), kTimeoutSeconds, kNapMilliseconds) != 1) {
    return false;
  }
  const Certificate certificate(SSL_get1_peer_certificate(tls));
  return certificate && (X509_cmp_current_time(X509_get0_notAfter(certificate.get())) < 0 ||
                         X509_cmp_current_time(X509_get0_notBefore(certificate.get())) > 0);
}

}  // namespace cbrgateway
