"""`cbrctl`: CBR Gateway at a terminal and in scripts.

    main        the commands: some by hand, and one for each RPC
    index       what is known of the RPCs: commands.json, made from the protos
    verbs       from an RPC to its command; fields (its flags), request, run
    transport   how a call is made; over_grpc does it
    contexts    where gateways are, and who calls
    output      tables, JSON, YAML, CSV; cells, query

It stands on the Python client, and knows nothing of the gateway's own code.
"""
