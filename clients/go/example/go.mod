module example.com/story

go 1.26.0

require github.com/cbrgateway/cbrgateway-go v0.1.0
