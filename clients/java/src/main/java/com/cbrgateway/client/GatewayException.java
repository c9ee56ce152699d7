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
import java.security.cert.CertificateExpiredException;
import java.security.cert.CertificateNotYetValidException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.StringJoiner;
import java.util.stream.Collectors;
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
    /** The gateway's certificate is out of date, or not valid yet. */
    EXPIRED_CERTIFICATE,
    /** The port speaks plain text, and we TLS. */
    PLAINTEXT_EXPECTED,
    /** The port speaks TLS, and we plain text. */
    TLS_EXPECTED,
    /** The time of the call was over before the gateway answered. */
    DEADLINE,
    /** Something else, such as a cancelled call. */
    OTHER
  }

  private final Kind kind;
  private final Status.Code code;
  private final String requestId;
  private final transient Details details;
  private final transient List<String> stillOpen;

  private GatewayException(Kind kind, Status status, String message, String requestId, Details details) {
    this(kind, status, message, requestId, details, List.of());
  }

  private GatewayException(Kind kind, Status status, String message, String requestId, Details details, List<String> stillOpen) {
    super(message, status.getCause());
    this.stillOpen = stillOpen;
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

  /** What took longer than it may. */
  static GatewayException late(String message, List<String> stillOpen) {
    return new GatewayException(Kind.DEADLINE, Status.DEADLINE_EXCEEDED.withDescription(message), message, "", Details.NONE, stillOpen);
  }

  /** The reason of an error that stands in an event. */
  static ErrorReason reasonIn(com.google.rpc.Status failure) {
    return Details.in(failure).reason();
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

  /** Of a wait whose time was up: the ids of what goes on. */
  public List<String> stillOpen() {
    return stillOpen;
  }

  /** Facts of the ErrorInfo, such as "sent" and "attempts". */
  public Map<String, String> metadata() {
    return details.info == null ? Map.of() : details.info.getMetadataMap();
  }

  /** The status with a text that says what happened and what to do, and the exception as its cause. */
  static Status explained(Status status, Metadata trailers, String address, boolean plaintext, String requestId) {
    Details details = Details.in(status, trailers);
    String text = String.valueOf(status.getDescription());
    Throwable root = root(status.getCause());
    String why = root == null ? text : text + ": " + root.getMessage();
    Kind kind = kind(status, details, plaintext);
    String message =
        switch (kind) {
          case ANSWERED -> "%s %s: %s%s".formatted(status.getCode(), details.info.getReason(), text, details.allFields());
          case UNREACHABLE -> "the gateway at %s cannot be reached; look whether it runs, and whether it wants a certificate of the caller: %s".formatted(address, why);
          case UNTRUSTED ->
              "the certificate of the gateway at %s is not trusted; name its authorities, and the gateway by a name that its certificate has: %s"
                  .formatted(address, why);
          case EXPIRED_CERTIFICATE ->
              "the certificate of the gateway at %s is out of date, or not valid yet; its operator has to renew it, and look at the clock of this machine: %s"
                  .formatted(address, why);
          case PLAINTEXT_EXPECTED ->
              "the port %s speaks plain text and the call used TLS; connect with plaintext(), or to a port with TLS: %s".formatted(address, why);
          case TLS_EXPECTED -> "the port %s does not speak plain text, or is going away; connect without plaintext(): %s".formatted(address, why);
          case DEADLINE ->
              "the deadline passed before the gateway answered: "
                  + text
                  + (requestId.isEmpty() ? "" : "; it is not known whether the change was made: make it again with the same request_id, and it is made once");
          case OTHER ->
              status.getCode() == Status.Code.UNIMPLEMENTED
                  ? why + "; what answers there does not have the RPC: it may be the health port, another service, or an older gateway"
                  : why;
        };
    String shown = message + ids(details.callId, requestId);
    return status.withDescription(shown).withCause(new GatewayException(kind, status, shown, requestId, details));
  }

  private static String ids(String callId, String requestId) {
    var ids = new StringJoiner(", ", " (", ")").setEmptyValue("");
    if (!callId.isEmpty()) {
      ids.add("call " + callId);
    }
    if (!requestId.isEmpty()) {
      ids.add("request_id " + requestId);
    }
    return ids.toString();
  }

  private static Kind kind(Status status, Details details, boolean plaintext) {
    if (details.info != null) {
      return Kind.ANSWERED;
    }
    return switch (status.getCode()) {
      case DEADLINE_EXCEEDED -> Kind.DEADLINE;
      case UNAVAILABLE -> plaintext ? kindOfPlaintext(status) : kindOfTls(status.getCause());
      default -> Kind.OTHER;
    };
  }

  /** A port with TLS answers HTTP/2 in plain text with an alert in the place of its first frame, or ends the connection before it. */
  private static Kind kindOfPlaintext(Status status) {
    String text = status.getDescription() + " " + status.getCause();
    boolean noFrame = text.contains("First received frame was not SETTINGS") || text.contains("Network closed for unknown reason");
    return noFrame ? Kind.TLS_EXPECTED : Kind.UNREACHABLE;
  }

  /** Failures of TLS that are neither of these are no matter of trust. */
  private static Kind kindOfTls(Throwable cause) {
    Kind found = Kind.UNREACHABLE;
    for (Throwable each = cause; each != null; each = each.getCause()) {
      if (each instanceof CertificateExpiredException || each instanceof CertificateNotYetValidException) {
        return Kind.EXPIRED_CERTIFICATE;
      }
      if (each.getClass().getSimpleName().equals("NotSslRecordException")) {
        return Kind.PLAINTEXT_EXPECTED;
      }
      if (each instanceof CertificateException || each instanceof CertPathValidatorException || each instanceof SSLPeerUnverifiedException) {
        found = Kind.UNTRUSTED;
      }
    }
    return found;
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

    /** None where they cannot be read, or are those of another status: what is thrown here is lost in gRPC, and the call would never end. */
    static Details in(Status status, Metadata trailers) {
      try {
        return in(StatusProto.fromStatusAndTrailers(status, trailers));
      } catch (IllegalArgumentException unreadable) {
        return NONE;
      }
    }

    static Details in(com.google.rpc.Status packed) {
      Details found = new Details();
      try {
        for (Any detail : packed.getDetailsList()) {
          found.add(detail);
        }
      } catch (InvalidProtocolBufferException damaged) {
        return NONE;
      }
      return found;
    }

    /** Where there are several; the text of the status has the first. */
    String allFields() {
      return fields.size() < 2 ? "" : fields.stream().map(each -> "; " + each.getField() + ": " + each.getDescription()).collect(Collectors.joining());
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
