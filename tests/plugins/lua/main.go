// Runs a health check in Lua as Argo CD does (util/lua/lua.go): the same interpreter, with the same
// libraries and no others. It reads a line of JSON with an object and answers with a line of JSON.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
)

const limit = time.Second

type answer struct {
	Status  string `json:"status"`
	Message string `json:"message"`
	Error   string `json:"error"`
}

func main() {
	script, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		var object any
		if err := json.Unmarshal(lines.Bytes(), &object); err != nil {
			panic(err)
		}
		if err := json.NewEncoder(os.Stdout).Encode(judge(string(script), object)); err != nil {
			panic(err)
		}
	}
}

func judge(script string, object any) answer {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable, lua.LoadLibName: lua.OpenPackage,
	} {
		state.Push(state.NewFunction(open))
		state.Push(lua.LString(name))
		state.Call(1, 0)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return answer{Error: err.Error()}
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return answer{Error: "the script returned no table"}
	}
	return answer{
		Status:  lua.LVAsString(table.RawGetString("status")),
		Message: lua.LVAsString(table.RawGetString("message")),
	}
}

// value turns JSON into Lua as Argo CD's decodeValue does.
func value(state *lua.LState, from any) lua.LValue {
	switch known := from.(type) {
	case bool:
		return lua.LBool(known)
	case float64:
		return lua.LNumber(known)
	case string:
		return lua.LString(known)
	case []any:
		table := state.CreateTable(len(known), 0)
		for _, item := range known {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(known))
		for key, item := range known {
			table.RawSetH(lua.LString(key), value(state, item))
		}
		return table
	}
	return lua.LNil
}
