"""Every refusal the emulator can send, in the three shapes of the vendor.

    ApiError                     a reply other than success
      service_error(6105, …)     {"error_code": "BackupService.6105", "error_msg": …}
      invalid("name", …)         BackupService.9900, the message names the parameter
      gateway_error(401, …)      {"error_msg": …, "error_code": "APIGW.0301", "request_id": …}
      malformed_url()            401 {"unauthorized": {…}}
      iam_error(401, …)          {"error": {"code", "message", "title"}}

Source: error tables of the service (BackupService.NNNN) and of the API gateway (APIGW.NNNN).
"""

from http import HTTPStatus

NOT_FOUND = frozenset(
    {4001, 6000, 6002, 6105, 6200, 6217, 6302, 6402, 6500, 6501, 6601, 6705, 7000, 7100, 7202}
)
INTERNAL = frozenset({2, 1006, 4004, 4005, 4006, 4007, 6132, 6137, 7009, 8400, 9910, 9998})
"""Codes the table gives status 500; all the others not named here are 400."""


class ApiError(Exception):
    """A refusal: the status and the JSON payload of the reply."""

    def __init__(self, status: int, payload: object, *, with_request_id: bool = False) -> None:
        super().__init__(status, payload)
        self.status = status
        self._payload = payload
        self._with_request_id = with_request_id

    @property
    def text(self) -> str:
        """The message of CBR or its API gateway alone."""
        return (
            str(self._payload["error_msg"])
            if isinstance(self._payload, dict) and "error_msg" in self._payload
            else ""
        )

    def payload(self, request_id: str) -> object:
        """Return the JSON body; errors of the API gateway repeat the request id."""
        if self._with_request_id and isinstance(self._payload, dict):
            return {**self._payload, "request_id": request_id}
        return self._payload


def service_code(number: int) -> str:
    """Return the spelling of a service error code, as found in bodies and operation logs."""
    return f"BackupService.{number:04d}"


def service_error(number: int, message: str) -> ApiError:
    """Return an error of CBR itself; the status follows from the code."""
    status = 404 if number in NOT_FOUND else 500 if number in INTERNAL else 400
    return ApiError(status, {"error_code": service_code(number), "error_msg": message})


def invalid(parameter: str, detail: str = "") -> ApiError:
    """Return the parameter error; `parameter` is the dotted JSON path or query name."""
    message = f"Invalid {parameter} provided{': ' + detail if detail else ''}."
    return service_error(9900, message)


def gateway_error(status: int, code: str, message: str) -> ApiError:
    """Return an error of the API gateway in front of the service."""
    return ApiError(status, {"error_msg": message, "error_code": code}, with_request_id=True)


def no_such_api() -> ApiError:
    """Return the answer for an unknown path or method."""
    return gateway_error(
        404, "APIGW.0101", "The API does not exist or has not been published in the environment"
    )


def malformed_url() -> ApiError:
    """Return what the back end says about a backup or checkpoint id that is not one."""
    return ApiError(401, {"unauthorized": {"code": "401", "message": "Malformed request url"}})


def iam_error(status: int, message: str) -> ApiError:
    """Return an error of the identity service."""
    title = HTTPStatus(status).phrase
    return ApiError(status, {"error": {"code": status, "message": message, "title": title}})
