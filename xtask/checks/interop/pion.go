// A producer on pion: announces itself, answers one consumer after the other, sends every datagram back.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/pion/webrtc"
)

const genesis = `{"PathAssertion":{"Allow":[{"Host":"*","Distance":1}],"Deny":null}}`

type envelope struct {
	ReplyTo string
	Type    int
	Payload string
}

type candidate struct {
	Foundation     string
	Priority       uint32
	Address        string
	Port           uint16
	Type           string `json:"type"`
	Component      uint16
	RelatedAddress string
	RelatedPort    uint16
}

// One message, and the reply to it; nil if there is none.
func exchange(sendTo string, kind int, data string) *envelope {
	form := url.Values{"data": {data}, "send-to": {sendTo}, "type": {strconv.Itoa(kind)}}
	request, err := http.NewRequest("POST", os.Args[1], strings.NewReader(form.Encode()))
	if err != nil {
		panic(err)
	}
	request.Header.Set("X-BF-Version", "v2.3.1")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	reply := &envelope{}
	if err != nil || response.StatusCode != 200 || json.Unmarshal(body, reply) != nil {
		return nil
	}
	return reply
}

func serve() error {
	offer := exchange("genesis", 0, genesis)
	if offer == nil {
		return nil
	}
	var described struct{ SDP webrtc.SessionDescription }
	if err := json.Unmarshal([]byte(offer.Payload), &described); err != nil {
		return err
	}
	servers := []webrtc.ICEServer{{URLs: strings.Split(os.Args[2], ",")}}
	connection, err := webrtc.NewPeerConnection(webrtc.Configuration{ICEServers: servers})
	if err != nil {
		return err
	}
	defer connection.Close()
	ended := make(chan struct{}, 8)
	connection.OnDataChannel(func(channel *webrtc.DataChannel) {
		// the producer of the field sets its handler late, and loses the first datagram
		isFirst := true
		channel.OnMessage(func(message webrtc.DataChannelMessage) {
			if isFirst {
				isFirst = false
				return
			}
			_ = channel.Send(message.Data)
		})
		channel.OnClose(func() { ended <- struct{}{} })
	})
	connection.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateFailed || state == webrtc.PeerConnectionStateClosed {
			ended <- struct{}{}
		}
	})
	if err := connection.SetRemoteDescription(described.SDP); err != nil {
		return err
	}
	answer, err := connection.CreateAnswer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(connection)
	if err := connection.SetLocalDescription(answer); err != nil {
		return err
	}
	<-gathered
	told, err := json.Marshal(connection.LocalDescription())
	if err != nil {
		return err
	}
	ice := exchange(offer.ReplyTo, 2, string(told))
	if ice == nil {
		return nil
	}
	var remote struct{ Candidates []candidate }
	if err := json.Unmarshal([]byte(ice.Payload), &remote); err != nil {
		return err
	}
	// as the Go producer of the field has it
	onlyHost := true
	for _, c := range remote.Candidates {
		onlyHost = onlyHost && c.Type == "host"
	}
	if onlyHost {
		return fmt.Errorf("only host type ICE candidates")
	}
	for _, c := range remote.Candidates {
		line := fmt.Sprintf("candidate:%s %d udp %d %s %d typ %s", c.Foundation, c.Component, c.Priority, c.Address, c.Port, c.Type)
		if c.RelatedAddress != "" {
			line += fmt.Sprintf(" raddr %s rport %d", c.RelatedAddress, c.RelatedPort)
		}
		if err := connection.AddICECandidate(webrtc.ICECandidateInit{Candidate: line}); err != nil {
			return err
		}
	}
	<-ended
	return nil
}

func main() {
	for {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
