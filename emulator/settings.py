"""What an emulator can be told at start, and the constants that clients of a default emulator may
rely on.

None of the credentials below is a secret: they open nothing but this emulator.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from emulator.paging import Paging
from emulator.transitions import Pace

ACCESS_KEY = "EMULATORACCESSKEY01"
SECRET_KEY = "emulator-secret-key-not-for-production"  # noqa: S105 - opens nothing but this emulator
IAM_DOMAIN = "acme"
IAM_USER = "acme-operator"
IAM_PASSWORD = "emulator-password-not-for-production"  # noqa: S105 - opens nothing but this emulator

SECOND_ACCESS_KEY = "EMULATORACCESSKEY02"
SECOND_SECRET_KEY = "emulator-second-key-not-for-production"  # noqa: S105 - opens nothing but this emulator

PAYMENTS_PROJECT_ID = "0605767b5780d5762fc5c0118072a564"
DATABASES_PROJECT_ID = "0605767b5f80d5ae2f4bc0115a1e7ad2"
STANDBY_PROJECT_ID = "0605768a1d00d2932f7ec011d9c41c6f"
RESEARCH_PROJECT_ID = "0b2f1b0dd180f4a52f3dc0117e6a83b1"


@dataclass(frozen=True, slots=True)
class Project:
    """An IAM project: the `{project_id}` of every path. It lives in exactly one region."""

    id: str
    name: str
    region: str


@dataclass(frozen=True, slots=True)
class Account:
    """A customer of the cloud (IAM domain) with one user, one key pair and its projects."""

    domain_id: str
    domain_name: str
    user_id: str
    user_name: str
    password: str = field(repr=False)
    access_key: str
    secret_key: str = field(repr=False)
    projects: tuple[Project, ...]


DEFAULT_PROJECTS = (
    Project(PAYMENTS_PROJECT_ID, "payments", "cn-north-4"),
    Project(DATABASES_PROJECT_ID, "databases", "cn-north-4"),
    Project(STANDBY_PROJECT_ID, "standby", "cn-east-3"),
)

DEFAULT_ACCOUNTS = (
    Account(
        domain_id="0605767a3f00d3ab0f2bc01158c7e7c0",
        domain_name=IAM_DOMAIN,
        user_id="0605767b1c80d5f91f0ec01192ad5f0a",
        user_name=IAM_USER,
        password=IAM_PASSWORD,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        projects=DEFAULT_PROJECTS,
    ),
    Account(
        domain_id="0b2f1b0c6e00f31a0f8cc01140d2b9e5",
        domain_name="globex",
        user_id="0b2f1b0cf780f2c11f5dc0113c88e07d",
        user_name="globex-operator",
        password="emulator-second-password-not-for-production",  # noqa: S106 - as above
        access_key=SECOND_ACCESS_KEY,
        secret_key=SECOND_SECRET_KEY,
        projects=(Project(RESEARCH_PROJECT_ID, "research", "cn-north-4"),),
    ),
)


@dataclass(frozen=True, slots=True)
class EmulatorSettings:
    """What an emulator is started with; `reset` of the control API goes back to these values."""

    seed: int = 1
    """Source of all ids and fault probabilities: the same calls give the same ids."""
    accounts: tuple[Account, ...] = DEFAULT_ACCOUNTS
    auth: bool = True
    """False: every request is taken as coming from the owner of the project in its path."""
    pace: Pace = field(default_factory=Pace)
    """How asynchronous work moves."""
    paging: Paging = field(default_factory=Paging)
    """How lists are cut into pages."""
    strict_capacity: bool = False
    """True: a vault refuses resources beyond its size, as the guide says, unless it expands."""
    throttle_rps: int | None = None
    """Requests per second for one project and operation before 429; None: no limit."""
    max_skew_s: float = 900.0
    """Signatures whose X-Sdk-Date is further away than this are refused."""
    token_lifetime_s: float = 24 * 3600.0
    seed_resources: bool = True
    """False: no servers, disks and file shares exist at start."""
    truth_limit: int = 50_000
    """Truth log entries kept; the oldest go first."""
    freeze_clock: bool = False
    """True: emulator time moves only by `POST /_emulator/clock`."""
    clock_ahead_s: float = 0.0
    """By how much all its clocks, and the Date header, are ahead of this machine's; or behind."""

    def projects(self) -> Iterator[Project]:
        """Every project of every account."""
        for account in self.accounts:
            yield from account.projects
