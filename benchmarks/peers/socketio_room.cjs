// socket.io: one room, as its documentation has it. node socketio_room.cjs PORT
const { createServer } = require("node:http");
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http);
io.on("connection", (socket) => {
    socket.on("join", () => {
        socket.join("room");
        socket.emit("joined");
    });
    socket.on("say", (data) => io.to("room").emit("said", data));
});
http.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
