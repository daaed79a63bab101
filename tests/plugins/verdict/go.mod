module cnpgplugin.dev/verdict

go 1.26.0
