package com.cbrgateway.client;

import io.grpc.util.AdvancedTlsX509KeyManager;
import java.io.Closeable;
import java.io.File;
import java.io.IOException;
import java.security.GeneralSecurityException;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/**
 * A certificate of the caller in files, which are looked at each second, until it is closed. Files that cannot be used change nothing. The schedule is our own: gRPC's has a minute at
 * least, and waits until both files have changed, which a certificate that is renewed with its old key never does.
 */
final class ClientCertificate implements Closeable {
  final AdvancedTlsX509KeyManager keyManager = new AdvancedTlsX509KeyManager();
  private final ScheduledExecutorService looking =
      Executors.newSingleThreadScheduledExecutor(
          task -> {
            var thread = new Thread(task, "cbrgateway-certificate");
            thread.setDaemon(true);
            return thread;
          });
  private final File certificate;
  private final File key;
  private List<Long> state;

  ClientCertificate(File certificate, File key) throws IOException {
    this.certificate = certificate;
    this.key = key;
    try {
      read();
    } catch (GeneralSecurityException | IOException | RuntimeException unusable) {
      close();
      throw new IOException("%s and %s are no certificate and its key: %s".formatted(certificate, key, unusable.getMessage()), unusable);
    }
    looking.scheduleWithFixedDelay(this::look, 1, 1, TimeUnit.SECONDS);
  }

  @Override
  public void close() {
    looking.shutdownNow();
  }

  private void look() {
    try {
      if (!found().equals(state)) {
        read();
      }
    } catch (GeneralSecurityException | IOException | RuntimeException unusable) {
      // Half of the pair may be written; what there was before still counts.
    }
  }

  private void read() throws GeneralSecurityException, IOException {
    var now = found();
    keyManager.updateIdentityCredentials(certificate, key);
    state = now;
  }

  private List<Long> found() {
    return List.of(certificate.lastModified(), certificate.length(), key.lastModified(), key.length());
  }
}
