module example.com/clients

go 1.24.0
