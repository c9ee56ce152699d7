package com.cbrgateway.client;

import com.cbrgateway.v1.ErrorReason;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.PreconditionFailure;
import com.google.rpc.QuotaFailure;
import com.google.rpc.RequestInfo;
import com.google.rpc.ResourceInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertificateException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import javax.net.ssl.SSLPeerUnverifiedException;

/** Why a call failed: the cause of the StatusRuntimeException that a stub throws. */
public final class GatewayException extends Exception {
  private static final long serialVersionUID = 1;

  /** Who ended a call. */
  public enum Kind {
    /** The gateway did, with a reason. */
    ANSWERED,
    /** Nobody answers at the address, or the connection broke. */
    UNREACHABLE,
    /** The gateway's certificate is not of an authority that is trusted here, or not for this address. */
    UNTRUSTED,
    /** The time of the call was over before the gateway answered. */
    DEADLINE,
    /** Something else, such as a cancelled call. */
    OTHER
  }

  private final Kind kind;
  private final Status.Code code;
  private final String requestId;
  private final transient Details details;

  private GatewayException(Kind kind, Status status, String message, String requestId, Details details) {
    super(message, status.getCause());
    this.kind = kind;
    this.code = status.getCode();
    this.requestId = requestId;
    this.details = details;
  }

  /** The one in a failure of a stub, whether it was thrown or handed to an observer. */
  public static GatewayException of(Throwable failure) {
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      if (cause instanceof GatewayException found) {
        return found;
      }
    }
    return new GatewayException(Kind.OTHER, Status.fromThrowable(failure), String.valueOf(failure.getMessage()), "", Details.NONE);
  }

  /** How a stream ends that does not tell its end. */
  static GatewayException lost(String what) {
    String message = "the stream was lost: " + what;
    return new GatewayException(Kind.UNREACHABLE, Status.UNAVAILABLE.withDescription(message), message, "", Details.NONE);
  }

  public Kind kind() {
    return kind;
  }

  public Status.Code code() {
    return code;
  }

  /** {@code ERROR_REASON_OTHER} for one that is newer than this package. */
  public ErrorReason reason() {
    return details.reason();
  }

  public List<BadRequest.FieldViolation> fields() {
    return details.fields;
  }

  public List<PreconditionFailure.Violation> preconditions() {
    return details.preconditions;
  }

  public List<QuotaFailure.Violation> quotas() {
    return details.quotas;
  }

  public Optional<ResourceInfo> resource() {
    return Optional.ofNullable(details.resource);
  }

  /** How long to wait before a repeat; zero where the gateway did not say. */
  public Duration retryDelay() {
    return details.retryDelay;
  }

  /** Of a change: repeat it with this id to learn what became of it. Empty for a read. */
  public String requestId() {
    return requestId;
  }

  /** The gateway's id of this call, for its operator. */
  public String callId() {
    return details.callId;
  }

  /** Facts of the ErrorInfo, such as "sent" and "attempts". */
  public Map<String, String> metadata() {
    return details.info == null ? Map.of() : details.info.getMetadataMap();
  }

  /** The status with a text that says what happened, and the exception as its cause. */
  static Status explained(Status status, Metadata trailers, String address, String requestId) {
    Details details = Details.in(status, trailers);
    String text = String.valueOf(status.getDescription());
    Throwable root = root(status.getCause());
    String why = root == null ? text : text + ": " + root.getMessage();
    Kind kind = kind(status, details);
    String message =
        switch (kind) {
          case ANSWERED -> "%s %s: %s (call %s)".formatted(status.getCode(), details.info.getReason(), text, details.callId);
          case UNREACHABLE -> "the gateway at %s cannot be reached: %s".formatted(address, why);
          case UNTRUSTED -> "the certificate of the gateway at %s is not trusted: %s".formatted(address, why);
          case DEADLINE -> "the deadline passed before the gateway answered: " + text;
          case OTHER -> why;
        };
    return status.withDescription(message).withCause(new GatewayException(kind, status, message, requestId, details));
  }

  private static Kind kind(Status status, Details details) {
    if (details.info != null) {
      return Kind.ANSWERED;
    }
    return switch (status.getCode()) {
      case DEADLINE_EXCEEDED -> Kind.DEADLINE;
      case UNAVAILABLE -> untrusted(status.getCause()) ? Kind.UNTRUSTED : Kind.UNREACHABLE;
      default -> Kind.OTHER;
    };
  }

  /** Other failures of TLS are no matter of trust: one with a gateway in plain text, for example. */
  private static boolean untrusted(Throwable cause) {
    return cause != null
        && (cause instanceof CertificateException
            || cause instanceof CertPathValidatorException
            || cause instanceof SSLPeerUnverifiedException
            || untrusted(cause.getCause()));
  }

  private static Throwable root(Throwable cause) {
    return cause == null || cause.getCause() == null ? cause : root(cause.getCause());
  }

  /** The details of a status, unpacked. */
  private static final class Details {
    static final Details NONE = new Details();
    ErrorInfo info;
    ResourceInfo resource;
    String callId = "";
    Duration retryDelay = Duration.ZERO;
    List<BadRequest.FieldViolation> fields = List.of();
    List<PreconditionFailure.Violation> preconditions = List.of();
    List<QuotaFailure.Violation> quotas = List.of();

    static Details in(Status status, Metadata trailers) {
      Details found = new Details();
      com.google.rpc.Status packed = StatusProto.fromStatusAndTrailers(status, trailers);
      try {
        for (Any detail : packed.getDetailsList()) {
          found.add(detail);
        }
      } catch (InvalidProtocolBufferException damaged) {
        return NONE;
      }
      return found;
    }

    ErrorReason reason() {
      if (info == null) {
        return ErrorReason.ERROR_REASON_UNSPECIFIED;
      }
      var value = ErrorReason.getDescriptor().findValueByName("ERROR_REASON_" + info.getReason());
      return value == null ? ErrorReason.ERROR_REASON_OTHER : ErrorReason.valueOf(value);
    }

    private void add(Any detail) throws InvalidProtocolBufferException {
      if (detail.is(ErrorInfo.class)) {
        info = detail.unpack(ErrorInfo.class);
      } else if (detail.is(RequestInfo.class)) {
        callId = detail.unpack(RequestInfo.class).getRequestId();
      } else if (detail.is(RetryInfo.class)) {
        var delay = detail.unpack(RetryInfo.class).getRetryDelay();
        retryDelay = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
      } else if (detail.is(BadRequest.class)) {
        fields = detail.unpack(BadRequest.class).getFieldViolationsList();
      } else if (detail.is(PreconditionFailure.class)) {
        preconditions = detail.unpack(PreconditionFailure.class).getViolationsList();
      } else if (detail.is(QuotaFailure.class)) {
        quotas = detail.unpack(QuotaFailure.class).getViolationsList();
      } else if (detail.is(ResourceInfo.class)) {
        resource = detail.unpack(ResourceInfo.class);
      }
    }
  }
}
