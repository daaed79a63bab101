module example.test/pause

go 1.25
