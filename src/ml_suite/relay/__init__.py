"""Child commands from hosts whose jobs have no route to the ecFlow server.

There, ``shim/ecflow_client`` leaves one file per command; here, `relay` fetches them and says them to the server.
"""
