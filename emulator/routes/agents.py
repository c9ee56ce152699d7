"""Category agent: file backup agents and the directories they back up."""

from emulator import fields
from emulator.errors import service_error
from emulator.fields import PAGING, Need, q_list, q_text
from emulator.model import Agent, AgentPath
from emulator.routing import Call, Route, page, visible
from emulator.views import agent_view


def register_agent(call: Call) -> object:
    """Answer the agent; one that registers again keeps its paths."""
    body, now = call.body["agent"], call.world.clock.now()
    host = {"host_nickname": "", "agent_version": "", "agent_type": "native"}
    host |= {name: value for name, value in body.items() if name != "agent_id"}
    known = call.world.agents.get(body["agent_id"])
    if known is not None and known.project_id == call.project_id:
        known.host, known.status, known.updated_at, known.last_active_at = host, "normal", now, now
        return {"agent": agent_view(known)}
    agent = Agent(body["agent_id"], call.project_id, host, now, now)
    call.world.agents[agent.agent_id] = agent
    return {"agent": agent_view(agent)}


def list_agent(call: Call) -> object:
    """Answer the agents of the project, oldest first."""
    query = call.query
    found = [
        agent
        for agent in visible(call, call.world.agents.values())
        if agent.project_id == call.project_id
        and query.get("status", agent.status) == agent.status
        and ("agent_id" not in query or agent.agent_id in query["agent_id"])
    ]
    shown, totals = page(call, found)
    return {"agents": [agent_view(agent) for agent in shown], **totals}


def _agent(call: Call) -> Agent:
    agent = call.world.agents.get(call.params["agent_id"])
    if agent is None or agent.project_id != call.project_id:
        raise service_error(6302, f"The agent {call.params['agent_id']} does not exist.")
    return agent


def show_agent(call: Call) -> object:
    """Answer one agent."""
    return {"agent": agent_view(_agent(call))}


def update_agent(call: Call) -> object:
    """Write the status, which can only become `uninstall`."""
    agent = _agent(call)
    agent.status = call.body["agent"]["status"]
    agent.updated_at = call.world.clock.now()
    return {"agent": agent_view(agent)}


def unregister_agent(call: Call) -> None:
    """Remove an agent; the answer is an empty 200."""
    del call.world.agents[_agent(call).agent_id]


def add_agent_path(call: Call) -> object:
    """Add directories; answer which were new."""
    agent = _agent(call)
    excluded = {
        each.get("path_name", ""): ",".join(each.get("exclude_path_name", []))
        for each in call.body.get("exclude_path", [])
    }
    wanted = list(dict.fromkeys(call.body["add_path"]))
    existed = [path for path in wanted if path in agent.paths]
    added = [path for path in wanted if path not in agent.paths]
    for path in added:
        agent.paths[path] = AgentPath(call.world.ids.new(), path, excluded.get(path, ""))
    return {"added": added, "existed": existed}


def remove_agent_path(call: Call) -> object:
    """Remove directories; answer which were there."""
    agent = _agent(call)
    wanted = list(dict.fromkeys(call.body["remove_path"]))
    removed = [path for path in wanted if agent.paths.pop(path, None) is not None]
    return {"removed": removed, "not_existed": [path for path in wanted if path not in removed]}


REGISTER_BODY = fields.record(
    agent=Need(
        fields.record(
            agent_id=Need(fields.text(1)),
            host_name=Need(fields.text(1)),
            host_ip=Need(fields.text(1)),
            host_os=Need(fields.text(1)),
            host_nickname=fields.text(),
            agent_version=fields.text(1, None, r"(\d{1,3}\.){2}\d{1,3}"),
            agent_type=fields.word("cloud", "native"),
        )
    )
)
PATH = fields.text(1, 4096, r"(/|[a-zA-Z]:).*")
ADD_BODY = fields.record(
    add_path=Need(fields.many(PATH)),
    exclude_path=fields.many(
        fields.record(path_name=fields.text(), exclude_path_name=fields.many(fields.text()))
    ),
)
AGENTS = "/v3/{project_id}/agents"
AGENT = AGENTS + "/{agent_id}"

ROUTES = (
    Route(
        "ListAgent",
        "GET",
        AGENTS,
        list_agent,
        query={**PAGING, "status": q_text, "agent_id": q_list},
    ),
    Route("RegisterAgent", "POST", AGENTS, register_agent, body=REGISTER_BODY),
    Route("ShowAgent", "GET", AGENT, show_agent),
    Route(
        "UpdateAgent",
        "PUT",
        AGENT,
        update_agent,
        body=fields.record(agent=Need(fields.record(status=Need(fields.word("uninstall"))))),
    ),
    Route("UnregisterAgent", "DELETE", AGENT, unregister_agent),
    Route("AddAgentPath", "POST", AGENT + "/add-path", add_agent_path, body=ADD_BODY),
    Route(
        "RemoveAgentPath",
        "POST",
        AGENT + "/remove-path",
        remove_agent_path,
        body=fields.record(remove_path=Need(fields.many(fields.text(1)))),
    ),
)
