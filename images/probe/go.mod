module agentstack/probe

go 1.22
