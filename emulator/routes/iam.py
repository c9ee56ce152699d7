"""The identity calls that CBR clients need: tokens, service catalog, project and account ids."""

from typing import Any

from emulator import fields
from emulator.auth import Caller, TemporaryKey, Token
from emulator.clock import zulu
from emulator.errors import iam_error
from emulator.fields import JsonObject, Need
from emulator.ids import seeded
from emulator.routing import Answer, Call, Route
from emulator.settings import Account, Project


def _named(domain: JsonObject, account: Account) -> bool:
    return domain.get("name") == account.domain_name or domain.get("id") == account.domain_id


def _login(call: Call, identity: JsonObject) -> Account:
    if identity["methods"] != ["password"]:
        raise iam_error(400, "This emulator knows the method password only.")
    user: JsonObject = identity.get("password", {}).get("user", {})
    for account in call.world.settings.accounts:
        known = user.get("name") == account.user_name or user.get("id") == account.user_id
        if known and user.get("password") == account.password:
            if "domain" in user and not _named(user["domain"], account):
                break
            return account
    raise iam_error(401, "The username or password is wrong.")


def _scope(account: Account, scope: JsonObject) -> Project | None:
    wanted = scope.get("project")
    if wanted is None:
        if not _named(scope.get("domain", {}), account):
            raise iam_error(403, "You have no right to access this domain.")
        return None
    for project in _matching(account, wanted.get("name")):
        if wanted.get("id") in {None, project.id}:
            return project
    raise iam_error(403, "You have no right to access this project.")


def _matching(account: Account, name: str | None) -> list[Project]:
    """Return the projects of that name; a region's name stands for the first project in it."""
    if name is None:
        return list(account.projects)
    exact = [project for project in account.projects if project.name == name]
    return exact or [project for project in account.projects if project.region == name][:1]


def _catalog(call: Call, account: Account, project: Project | None) -> list[JsonObject]:
    """Return what is to be had where; an address of CBR holds the project, so clients of the whole
    account get one for each.
    """
    projects = [project] if project is not None else account.projects
    regions = dict.fromkeys(each.region for each in projects)
    places = {
        "iam": [(region, "/v3") for region in regions],
        "cbr": [(each.region, f"/v3/{each.id}") for each in projects],
    }
    types = {"iam": "identity", "cbr": "cbr"}
    return [
        {
            "id": seeded("catalog", name),
            "name": name,
            "type": types[name],
            "endpoints": [
                {
                    "id": seeded(name, region, path),
                    "interface": "public",
                    "region": region,
                    "region_id": region,
                    "url": call.base_url + path,
                }
                for region, path in places[name]
            ],
        }
        for name in places
    ]


def show_catalog(call: Call) -> object:
    """Answer the service catalog. Source: Keystone, GET /v3/auth/catalog."""
    project = call.caller.project if call.caller is not None else None
    return {
        "catalog": _catalog(call, call.account, project),
        "links": {"self": f"{call.base_url}/v3/auth/catalog"},
    }


def show_identity_version(call: Call) -> object:
    """Answer the version of the identity API, with which OpenStack-style clients begin.

    Source: Keystone, GET /v3.
    """
    version = {
        "id": "v3.6",
        "status": "stable",
        "updated": "2016-04-04T00:00:00Z",
        "links": [{"rel": "self", "href": f"{call.base_url}/v3/"}],
        "media-types": [
            {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}
        ],
    }
    return {"version": version}


def create_token(call: Call) -> Answer:
    """Answer 201 with the token in X-Subject-Token. Source: IAM, POST /v3/auth/tokens."""
    auth = call.body["auth"]
    account = _login(call, auth["identity"])
    project = _scope(account, auth.get("scope", {"domain": {"id": account.domain_id}}))
    now = call.world.clock.front()
    token = Token(account, project, now, now + call.world.settings.token_lifetime_s)
    value = call.world.ids.token()
    call.auth.tokens[value] = token
    domain = {"id": account.domain_id, "name": account.domain_name}
    view: dict[str, Any] = {
        "methods": ["password"],
        "issued_at": zulu(token.issued_at),
        "expires_at": zulu(token.expires_at),
        "user": {
            "id": account.user_id,
            "name": account.user_name,
            "domain": domain,
            "password_expires_at": "",
        },
        "roles": [{"id": "0", "name": "cbr_adm"}],
    }
    if "nocatalog" not in call.query:
        view["catalog"] = _catalog(call, account, project)
    if project is None:
        view["domain"] = domain
    else:
        view["project"] = {"id": project.id, "name": project.name, "domain": domain}
    return Answer(201, {"token": view}, (("X-Subject-Token", value),))


def list_iam_projects(call: Call) -> object:
    """Answer the projects of the caller's account, filtered by `name`."""
    account = call.account
    return {
        "projects": [
            project_view(account, project) for project in _matching(account, call.query.get("name"))
        ],
        "links": {"self": "https://iam.myhuaweicloud.com/v3/projects"},
    }


def project_view(account: Account, project: Project) -> JsonObject:
    """Return a project as IAM shows it."""
    return {
        "id": project.id,
        "name": project.name,
        "domain_id": account.domain_id,
        "parent_id": account.domain_id,
        "is_domain": False,
        "enabled": True,
        "description": "",
        "links": {"self": f"https://iam.myhuaweicloud.com/v3/projects/{project.id}"},
    }


def list_auth_domains(call: Call) -> object:
    """Answer the account of the caller."""
    caller = call.caller or Caller(call.account, None)
    return {
        "domains": [
            {"id": caller.account.domain_id, "name": caller.account.domain_name, "enabled": True}
        ],
        "links": {"self": "https://iam.myhuaweicloud.com/v3/auth/domains"},
    }


def create_temporary_key(call: Call) -> Answer:
    """Answer 201 with a key pair and its security token.

    Source: IAM, POST /v3.0/OS-CREDENTIAL/securitytokens.
    """
    wish = call.body["auth"]["identity"].get("token", {})
    key = TemporaryKey(
        account=call.account,
        access_key=call.world.ids.access_key(),
        secret_key=call.world.ids.request(),
        security_token=call.world.ids.token(),
        expires_at=call.world.clock.front() + wish.get("duration_seconds", 900),
    )
    call.auth.temporary_keys[key.access_key] = key
    credential = {
        "access": key.access_key,
        "secret": key.secret_key,
        "securitytoken": key.security_token,
        "expires_at": zulu(key.expires_at),
    }
    return Answer(201, {"credential": credential})


TEMPORARY_BODY = fields.record(
    auth=Need(
        fields.record(
            identity=Need(
                fields.record(
                    methods=Need(fields.many(fields.word("token"), 1, 1)),
                    token=fields.record(
                        id=fields.text(), duration_seconds=fields.integer(900, 86400)
                    ),
                )
            )
        )
    )
)
TOKEN_BODY = fields.record(
    auth=Need(
        fields.record(
            identity=Need(
                fields.record(
                    methods=Need(fields.many(fields.text())),
                    password=fields.record(
                        user=Need(
                            fields.record(
                                id=fields.text(),
                                name=fields.text(),
                                password=Need(fields.text()),
                                domain=fields.record(id=fields.text(), name=fields.text()),
                            )
                        )
                    ),
                )
            ),
            scope=fields.record(
                project=fields.record(
                    id=fields.text(),
                    name=fields.text(),
                    domain=fields.record(id=fields.text(), name=fields.text()),
                ),
                domain=fields.record(id=fields.text(), name=fields.text()),
            ),
        )
    )
)

ROUTES = (
    Route(
        "KeystoneCreateUserTokenByPassword", "POST", "/v3/auth/tokens", create_token, 201,
        body=TOKEN_BODY, query={"nocatalog": fields.q_text}, mutates=False, public=True,
    ),
    Route(
        "CreateTemporaryAccessKeyByToken", "POST", "/v3.0/OS-CREDENTIAL/securitytokens", create_temporary_key, 201,  # noqa: E501 - as it stands on the wire
        body=TEMPORARY_BODY, mutates=False,
    ),
    Route("KeystoneShowVersion", "GET", "/v3", show_identity_version, public=True),
    Route("KeystoneShowCatalog", "GET", "/v3/auth/catalog", show_catalog),
    Route("KeystoneListProjects", "GET", "/v3/projects", list_iam_projects, query={"name": fields.q_text}),  # noqa: E501 - as it stands on the wire
    Route("KeystoneListAuthDomains", "GET", "/v3/auth/domains", list_auth_domains),
)  # fmt: skip
